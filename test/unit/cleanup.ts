import t from "tap";
import { CleanupStack } from "../../src/cleanup.js";

void t.test("steps run last in, first out, once", async (t) => {
  const ran: string[] = [];
  const cleanup = new CleanupStack();
  cleanup.add("first", () => {
    ran.push("first");
  });
  cleanup.add("second", async () => {
    await Promise.resolve();
    ran.push("second");
  });
  const resource = { [Symbol.asyncDispose]: () => Promise.resolve(void ran.push("resource")) };
  t.equal(cleanup.use("third", resource), resource);
  await cleanup[Symbol.asyncDispose]();
  await cleanup[Symbol.asyncDispose]();
  t.strictSame(ran, ["resource", "second", "first"]);
});

void t.test("await using runs the steps when the body throws", async (t) => {
  const ran: string[] = [];
  const body = async (keep: boolean): Promise<void> => {
    await using cleanup = new CleanupStack();
    cleanup.add("undo", () => void ran.push("undo"));
    if (keep) cleanup.keep();
    else throw new Error("body");
  };
  await t.rejects(body(false), { message: "body" });
  t.strictSame(ran, ["undo"]);
  await body(true);
  t.strictSame(ran, ["undo"]);
});

void t.test("move() makes another the owner", async (t) => {
  const ran: number[] = [];
  const cleanup = new CleanupStack();
  cleanup.add("one", () => void ran.push(1));
  cleanup.add("two", () => void ran.push(2));
  const owner = cleanup.move();
  await cleanup[Symbol.asyncDispose]();
  t.strictSame(ran, []);
  await owner[Symbol.asyncDispose]();
  t.strictSame(ran, [2, 1]);
});

void t.test("a step that fails stops no other", async (t) => {
  const ran: string[] = [];
  const cleanup = new CleanupStack();
  cleanup.add("close the file", () => void ran.push("closed"));
  const only = new Error("busy");
  cleanup.add("remove the snapshot", () => Promise.reject(only));
  await t.rejects(cleanup[Symbol.asyncDispose](), only);
  t.strictSame(ran, ["closed"]);
});

void t.test("several failures are named by their steps", async (t) => {
  const cleanup = new CleanupStack();
  cleanup.add("close the file", () => {
    throw new Error("bad descriptor");
  });
  // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- what a foreign library may do
  cleanup.add("remove the snapshot", () => Promise.reject("busy"));
  const error: unknown = await cleanup[Symbol.asyncDispose]().catch((thrown: unknown) => thrown);
  t.ok(error instanceof AggregateError);
  t.match(error, {
    message: "Cannot remove the snapshot: busy; Cannot close the file: bad descriptor",
    errors: [{ message: "Cannot remove the snapshot: busy" }, { message: "bad descriptor" }],
  });
});

void t.test("a single failure that is no Error becomes one", async (t) => {
  const cleanup = new CleanupStack();
  // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- what a foreign library may do
  cleanup.add("detach", () => Promise.reject("busy"));
  await t.rejects(cleanup[Symbol.asyncDispose](), { message: "Cannot detach: busy" });
});
