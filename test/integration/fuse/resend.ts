import { writeSync } from "node:fs";
import { readdir, readlink } from "node:fs/promises";
import { release } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { encoded } from "../../../src/binary.js";
import { kernelFuseDriver } from "../../../src/fs/fuse/kernel-driver.js";
import { outHeader } from "../../../src/fs/fuse/protocol.js";
import { KIB } from "../../../src/units.js";
import { type Gate, gate } from "../../fixtures/gate.js";
import { until } from "../../fixtures/host/until.js";
import { MemoryFileSystem, pattern } from "../../fixtures/memory-file-system.js";
import { cannotMount, mountFor, type Running, start, startFaulting } from "../../fixtures/mounting.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";

// Requests that the kernel sends again, under another number (protocol 7.40): it does so when a server asks for it.

const [major = 0, minor = 0] = release().split(".").map(Number);
const skip = cannotMount() || (major * 100 + minor < 609 && "needs Linux 6.9, the first that sends again");
const BYTES = 64 * KIB;

/** FUSE_NOTIFY_RESEND of linux/fuse.h: no answer, so the number is 0 and the code stands where an errno would. */
const NOTIFY_RESEND = encoded(outHeader, { len: outHeader.size, error: 7, unique: 0n });

/** The descriptor of the only mount that this process serves. */
async function deviceDescriptor(): Promise<number> {
  const folder = "/proc/self/fd";
  for (const name of await readdir(folder)) {
    // The folder itself was open, and is no more.
    const target = await readlink(join(folder, name)).catch(() => "");
    if (target === "/dev/fuse") return Number(name);
  }
  throw new Error("This process serves no mount");
}

/** A reader whose one READ has reached the file system twice; each waits for its gate. */
async function readTwice(
  t: Test,
  startReader: (path: string) => Running,
): Promise<{
  readonly reader: Running;
  readonly data: Uint8Array;
  readonly gates: readonly [Gate, Gate];
  readonly inFlight: () => number;
  readonly errors: () => unknown[];
}> {
  const gates = [gate(), gate()] as const;
  const data = pattern(BYTES, 1);
  const tree = new MemoryFileSystem();
  const record = tree.addFile("disk", {
    size: BYTES,
    extents: [{ at: 0, data }],
    beforeRead: () => gates[record.reads.length - 1]?.opened,
  });
  const { logger, lines } = recordingLogger();
  const { mounted, path } = await mountFor(t, kernelFuseDriver({ logger }), tree);
  t.teardown(() => {
    for (const one of gates) one.open();
  });
  const reader = startReader(path("disk"));
  await until("the READ arrives", () => record.reads.length === 1);
  writeSync(await deviceDescriptor(), NOTIFY_RESEND);
  await until("it arrives again", () => record.reads.length === 2);
  return {
    reader,
    data,
    gates,
    inFlight: () => mounted.statistics.readsInFlight,
    errors: () => lines.filter(({ level }) => level === "error" || level === "warn"),
  };
}

const readWhole = (path: string): Running =>
  start("dd", `if=${path}`, `bs=${BYTES}`, "count=1", "iflag=direct", "status=none");

for (const [what, first, second] of [
  ["an answer to the first sending changes nothing, one to the second ends the wait", 0, 1],
  ["an answer to the second sending ends the wait, and one to the first is too late", 1, 0],
] as const) {
  void t.test(what, { skip }, async (t) => {
    const { reader, data, gates, inFlight, errors } = await readTwice(t, readWhole);
    t.equal(inFlight(), 2, "they are two requests");
    gates[first].open();
    await until("one is answered", () => inFlight() === 1);
    if (first === 0) t.equal(reader.child.exitCode, null, "the kernel knows the first number no more");
    gates[second].open();
    const { code, stdout } = await reader.outcome;
    t.equal(code, 0);
    t.ok(stdout.equals(data), "the reader has the bytes");
    await until("both are over", () => inFlight() === 0);
    t.strictSame(errors(), []);
  });
}

void t.test("a reader that is killed is freed from the second sending", { skip }, async (t) => {
  const { reader, gates, inFlight, errors } = await readTwice(t, startFaulting);
  reader.child.kill("SIGKILL");
  await until("the reader is gone, although nobody has the bytes yet", () => reader.child.signalCode === "SIGKILL");
  t.equal(inFlight(), 2, "both sendings still wait for the bytes");
  for (const one of gates) one.open();
  await until("both are over", () => inFlight() === 0);
  t.strictSame(errors(), []);
});
