import { setImmediate as turn } from "node:timers/promises";
import t from "tap";
import { checkRange, filtered, readParts } from "../../../../src/fs/block/filter.js";
import { bytes } from "../../../../src/units.js";
import { memorySource } from "../../../fixtures/block/memory.js";

const { signal } = new AbortController();
const fail = (message: string) => () => Promise.reject(new Error(message));

void t.test("readParts() throws the failure that came first", async (t) => {
  await readParts([], signal);
  await readParts([() => Promise.resolve()], signal);
  await readParts([() => Promise.resolve(), () => Promise.resolve()], signal);
  await t.rejects(readParts([fail("alone")], signal), { message: "alone" });
  await t.rejects(readParts([() => turn().then(fail("late")), fail("first")], signal), { message: "first" });
});

void t.test("readParts() settles only when every part has, since parts write into the caller's buffer", async (t) => {
  let finishSlow: () => void = () => undefined;
  let told = false;
  const slow = (partSignal: AbortSignal): Promise<void> => {
    partSignal.addEventListener("abort", () => (told = true));
    return new Promise((resolve) => (finishSlow = resolve));
  };
  let settled = false;
  const reading = readParts([slow, fail("broken")], signal).finally(() => (settled = true));
  const rejected = t.rejects(reading, { message: "broken" });
  await turn();
  t.strictSame([told, settled], [true, false]);
  finishSlow();
  await rejected;
});

void t.test("readParts() passes an abort on to any number of parts, without a warning", async (t) => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error): void => {
    warnings.push(warning);
  };
  process.on("warning", onWarning);
  t.teardown(() => process.off("warning", onWarning));
  const aborting = new AbortController();
  const wait = (partSignal: AbortSignal): Promise<void> =>
    new Promise((_, reject) => {
      partSignal.addEventListener("abort", () => {
        reject(partSignal.reason as Error);
      });
    });
  const reading = readParts(new Array(50).fill(wait) as (typeof wait)[], aborting.signal);
  aborting.abort(new Error("enough"));
  await t.rejects(reading, { message: "enough" });
  await t.rejects(readParts([wait, wait], aborting.signal), { message: "enough" });
  await turn();
  t.strictSame(warnings, []);
});

void t.test("checkRange() takes what lies inside and refuses everything else", (t) => {
  for (const [at, length] of [
    [0, 0],
    [0, 10],
    [10, 0],
    [9, 1],
  ] as const) {
    checkRange(bytes(10), at, length);
  }
  for (const [at, length] of [
    [0, 11],
    [10, 1],
    [11, 0],
    [-1, 1],
    [0.5, 1],
    [NaN, 1],
    [2 ** 53, 1],
  ] as const) {
    t.throws(() => {
      checkRange(bytes(10), at, length);
    }, RangeError);
  }
  t.end();
});

void t.test("filtered() tells of the capabilities below, and no others", async (t) => {
  const plain = memorySource(new Uint8Array(512));
  t.strictSame(Object.keys(filtered(plain, {})).sort(), ["read", "size"]);
  const local = { ...memorySource(new Uint8Array(512), { granularity: 512 }), localFile: () => undefined };
  t.strictSame(Object.keys(filtered(local, {})).sort(), ["extents", "localFile", "read", "size"]);
  const into = new Uint8Array(512).fill(1);
  await filtered(plain, {}).read(into, bytes(0), { signal });
  t.ok(into.every((byte) => byte === 0));
});
