import t from "tap";
import type { BlockSource, Extent } from "../../../../src/block-source.js";
import { DiskIoError } from "../../../../src/errors.js";
import { retrying } from "../../../../src/fs/block/retrying.js";
import { bytes } from "../../../../src/units.js";
import { faulty } from "../../../fixtures/block/faulty.js";
import { gatedSource } from "../../../fixtures/block/gated.js";
import { memorySource, patternBytes } from "../../../fixtures/block/memory.js";

const POLICY = { retriesMax: 2, delayMs: 0, delayMsMax: 0 };
const OPTIONS = { policy: POLICY, deadlineMs: 60_000 };
const content = patternBytes(4096);
const { signal } = new AbortController();

async function readAll(source: BlockSource): Promise<boolean> {
  const into = new Uint8Array(content.length);
  await source.read(into, bytes(0), { signal });
  return Buffer.compare(into, content) === 0;
}

void t.test("each read has its own attempts", async (t) => {
  const retried: number[] = [];
  // Attempts 0 1 2 of the first read, 3 4 5 of the second: the third of each is good.
  const below = faulty(memorySource(content), ({ number }) => (number % 3 < 2 ? { retryable: true } : undefined));
  const source = retrying(below, { ...OPTIONS, onRetry: (_, attempt) => retried.push(attempt) });
  t.ok(await readAll(source));
  t.ok(await readAll(source));
  t.strictSame(retried, [1, 2, 1, 2]);
});

void t.test("the last failure is thrown when the attempts are used up", async (t) => {
  let reads = 0;
  const source = retrying(
    faulty(memorySource(content), () => {
      reads++;
      return { retryable: true };
    }),
    OPTIONS,
  );
  await t.rejects(readAll(source), { name: "DiskIoError", message: "Cannot read 4096 bytes at 0: injected" });
  t.equal(reads, 3);
});

void t.test("a failure for good is not repeated", async (t) => {
  let reads = 0;
  const source = retrying(
    faulty(memorySource(content), () => {
      reads++;
      return { retryable: false };
    }),
    OPTIONS,
  );
  await t.rejects(readAll(source), DiskIoError);
  t.equal(reads, 1);
});

void t.test("a read without answer ends at the deadline", async (t) => {
  const disk = gatedSource(content);
  const source = retrying(disk, { ...OPTIONS, deadlineMs: 1 });
  await t.rejects(readAll(source), { message: "Cannot read 4096 bytes at 0: no success within 0.001 s" });
  t.equal(disk.waiting.length, 0, "the read below was told to stop");
});

void t.test("the deadline ends the wait between attempts, and tells the failure before it", async (t) => {
  const below = faulty(memorySource(content), () => ({ retryable: true }));
  const policy = { retriesMax: 5, delayMs: 3_600_000, delayMsMax: 3_600_000 };
  const error: unknown = await readAll(retrying(below, { policy, deadlineMs: 5 })).catch((thrown: unknown) => thrown);
  t.match(error, { message: /no success within/, cause: { message: /injected/ } });
});

void t.test("a deadline beyond what a timer can hold does not end the read at once", async (t) => {
  // Node says so when it turns a timer into one of 1 ms.
  const warnings: string[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning.name);
  process.on("warning", onWarning);
  t.teardown(() => process.off("warning", onWarning));
  const disk = gatedSource(content);
  const reading = readAll(retrying(disk, { ...OPTIONS, deadlineMs: 30 * 86_400_000 }));
  await disk.untilWaiting(1);
  disk.waiting[0]?.finish();
  t.ok(await reading);
  t.strictSame(warnings, []);
});

void t.test("an aborted reader gets its reason, and leaves nothing on its signal", async (t) => {
  const disk = gatedSource(content);
  const aborting = new AbortController();
  const reading = retrying(disk, OPTIONS).read(new Uint8Array(10), bytes(0), { signal: aborting.signal });
  await disk.untilWaiting(1);
  aborting.abort(new Error("enough"));
  await t.rejects(reading, { message: "enough" });
});

void t.test("a walk over extents that fails goes on where it stopped", async (t) => {
  const walks: number[] = [];
  const below: BlockSource = {
    ...memorySource(content),
    async *extents(from, length) {
      walks.push(from);
      await Promise.resolve();
      for (let at: number = from; at < from + length; at += 1024) {
        // Fails at each extent that is not the first of its walk.
        if (at > from) throw new DiskIoError("Cannot ask for extents: injected", { retryable: true });
        yield { kind: "data", start: bytes(at), length: bytes(1024) };
      }
    },
  };
  const extents: Extent[] = [];
  for await (const one of retrying(below, OPTIONS).extents?.(bytes(0), bytes(4096), { signal }) ?? [])
    extents.push(one);
  t.strictSame(
    extents.map(({ start }) => start),
    [0, 1024, 2048, 3072],
  );
  t.strictSame(walks, [0, 1024, 2048, 3072]);
});

void t.test("a walk that its reader leaves is closed", async (t) => {
  let closed = false;
  const below: BlockSource = {
    ...memorySource(content),
    async *extents(from) {
      try {
        await Promise.resolve();
        for (let at: number = from; ; at += 512) yield { kind: "data", start: bytes(at), length: bytes(512) };
      } finally {
        closed = true;
      }
    },
  };
  for await (const one of retrying(below, OPTIONS).extents?.(bytes(0), bytes(4096), { signal }) ?? []) {
    t.equal(one.start, 0);
    break;
  }
  t.equal(closed, true);
});

void t.test("a walk that ends early ends early", async (t) => {
  const below: BlockSource = {
    ...memorySource(content),
    async *extents(from) {
      await Promise.resolve();
      yield { kind: "data", start: from, length: bytes(512) };
    },
  };
  const starts: number[] = [];
  const walk = retrying(below, OPTIONS).extents?.(bytes(0), bytes(4096), { signal }) ?? [];
  for await (const { start } of walk) starts.push(start);
  t.strictSame(starts, [0]);
});
