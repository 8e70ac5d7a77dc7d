import t from "tap";
import { Places, type ServerPlace } from "../../../../src/mount/many/places.js";

const { signal } = new AbortController();
const LIMITS = { total: 4, server: 3, host: 2, datastore: 1 };
const at = (server: string, host?: string, ...storages: string[]): ServerPlace => ({ server, host, storages });

/** Lets everybody begin who can. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

void t.test("each limit holds by itself, and for each server apart", async (t) => {
  const places = new Places(LIMITS);
  const begun: string[] = [];
  const enter = async (name: string, place: ServerPlace): Promise<() => void> => {
    const release = await places.acquire(place, signal);
    begun.push(name);
    return release;
  };
  const first = await enter("a", at("vc1", "h1", "ds1"));
  void enter("same datastore", at("vc1", "h2", "ds1"));
  void enter("same datastore, other server", at("vc2", "h2", "ds1"));
  void enter("second of its host", at("vc1", "h1", "ds2"));
  void enter("third of its host", at("vc1", "h1", "ds3"));
  await settled();
  t.same(begun, ["a", "same datastore, other server", "second of its host"], "who must wait does not hold up others");
  first();
  await settled();
  t.same(begun.slice(3), ["same datastore", "third of its host"], "in the order in which they came");
  first();
  void enter("a fifth", at("vc3"));
  await settled();
  t.equal(begun.length, 5, "giving room back twice makes none, and four are all");
});

void t.test("who gives up while waiting takes nothing", async (t) => {
  const places = new Places({ ...LIMITS, total: 1 });
  const release = await places.acquire(at("vc1"), signal);
  const stop = new AbortController();
  const waiting = places.acquire(at("vc1"), stop.signal);
  stop.abort(new Error("enough"));
  await t.rejects(waiting, /enough/);
  await t.rejects(places.acquire(at("vc1"), stop.signal), /enough/);
  release();
  (await places.acquire(at("vc1"), signal))();
  t.pass("the room is free again");
});
