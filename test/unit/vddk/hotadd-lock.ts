import t from "tap";
import { BusyError } from "../../../src/errors.js";
import { HotaddLock } from "../../../src/vddk/hotadd-lock.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { scratch } from "../../fixtures/scratch.js";

const WAIT_MS = 200;

void t.test("who is alone cleans up; who is not does without, and both hold the lock then", async (t) => {
  const folder = scratch(t);
  const first = HotaddLock.open(folder);
  using second = HotaddLock.open(folder, WAIT_MS);
  let cleaned = 0;
  const cleanUp = (): Promise<void> => {
    cleaned++;
    return Promise.resolve();
  };
  t.equal(await first.whenAlone(cleanUp), true);
  t.equal(await second.whenAlone(cleanUp), false, "the first one has disks attached");
  using third = HotaddLock.open(folder, WAIT_MS);
  first[Symbol.dispose]();
  t.equal(await third.whenAlone(cleanUp), false, "the second one has");
  t.equal(cleaned, 1);
});

void t.test("nothing is attached while somebody cleans up who may take it for left behind", async (t) => {
  const folder = scratch(t);
  using cleaner = HotaddLock.open(folder);
  using other = HotaddLock.open(folder, WAIT_MS);
  let done = (): void => undefined;
  const cleaning = cleaner.whenAlone(() => new Promise((resolve) => (done = resolve)));
  await t.rejects(
    other.whenAlone(() => Promise.resolve()),
    BusyError,
  );
  const waiting = other.whenAlone(() => Promise.resolve());
  done();
  t.equal(await cleaning, true);
  t.equal(await waiting, false, "it has the lock as soon as the other has cleaned up");
});

void t.test("a failing clean-up is told, and does not keep anybody from attaching", async (t) => {
  const folder = scratch(t);
  const { logger, lines } = recordingLogger();
  using first = await HotaddLock.take(folder, () => Promise.reject(new Error("no rights")), logger);
  t.ok(first);
  t.match(lines, [{ level: "warn", message: /stays there: no rights/ }]);
  using second = await HotaddLock.take(folder, () => Promise.reject(new Error("never called")), logger);
  t.ok(second);
  t.match(lines.slice(1), [{ level: "debug", message: /nothing is cleaned up/ }]);
});
