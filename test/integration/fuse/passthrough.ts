import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { open, rm } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { kernelFuseDriver } from "../../../src/fs/fuse/kernel-driver.js";
import { silentLogger } from "../../../src/log.js";
import { bytes, MIB } from "../../../src/units.js";
import { localFileSource } from "../../fixtures/block/local-file.js";
import { MemoryFileSystem, pattern, type MemoryFileRecord } from "../../fixtures/memory-file-system.js";
import { cannotMount, holdOpen, mountFor, run, start, text, type TestMount } from "../../fixtures/mounting.js";
import { scratch } from "../../fixtures/scratch.js";

// Disks that are a local file: the kernel reads them by itself, and READ requests are the proof that it does or does not.

const SIZE = 12 * MIB + 4096;
const EXTENTS = [
  { at: 0, data: pattern(MIB, 1) },
  { at: 5 * MIB, data: pattern(3 * MIB + 4096, 2) },
  { at: SIZE - 8192, data: pattern(8192, 3) },
];
const WHOLE = ((): Uint8Array => {
  const whole = new Uint8Array(SIZE);
  for (const { at, data } of EXTENTS) whole.set(data, at);
  return whole;
})();
const sha256 = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");

interface Backed extends TestMount {
  readonly record: MemoryFileRecord;
  readonly reads: () => number;
}

interface Variation {
  readonly passthrough?: "auto" | "off";
  readonly offset?: number;
  readonly fileBytes?: number;
}

/** A new directory on tmpfs, which is never a layer: /tmp of a container may lie on overlayfs. */
function shared(t: Test): string {
  const directory = mkdtempSync("/dev/shm/vmm-");
  t.teardown(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  return directory;
}

/** A mount whose "disk" is the local file that holds the same sparse bytes. */
async function backed(
  t: Test,
  { passthrough = "auto", offset = 0, fileBytes = SIZE }: Variation = {},
): Promise<Backed> {
  const path = join(shared(t), "disk");
  const file = await open(path, "w");
  for (const { at, data } of EXTENTS) await file.write(data, 0, data.length, at);
  await file.truncate(fileBytes);
  await file.close();
  const source = await localFileSource(path);
  t.teardown(() => source[Symbol.asyncDispose]());
  const tree = new MemoryFileSystem();
  const localFile = () => {
    const found = source.localFile?.();
    return found && { fd: found.fd, offset: bytes(offset) };
  };
  const record = tree.addFile("disk", { size: SIZE, extents: EXTENTS, localFile });
  const mount = await mountFor(t, kernelFuseDriver({ logger: silentLogger(), passthrough }), tree);
  return { ...mount, record, reads: () => mount.mounted.statistics.requests["READ"] ?? 0 };
}

/** Whether this kernel offers passthrough (Linux 6.9, CONFIG_FUSE_PASSTHROUGH): the driver says what was agreed. */
async function cannotPassThrough(): Promise<string | false> {
  const reason = cannotMount();
  if (reason !== false) return reason;
  const cleanups: (() => Promise<void> | void)[] = [];
  const owner = { teardown: (run: () => Promise<void> | void) => cleanups.unshift(run) };
  const { mounted } = await mountFor(owner, kernelFuseDriver({ logger: silentLogger() }), new MemoryFileSystem());
  const isAgreed = mounted.description.includes("passthrough");
  for (const clean of cleanups) await clean();
  return isAgreed ? false : "this kernel offers no FUSE passthrough";
}

const skip = await cannotPassThrough();

void t.test("the kernel reads a local file by itself: read, mmap, O_DIRECT, several at once", { skip }, async (t) => {
  const { path, mounted, reads } = await backed(t);
  const held = await holdOpen(path("disk"));
  t.equal((await text("sha256sum", path("disk"))).slice(0, 64), sha256(WHOLE), "a second open");
  const mapped = await text(
    "python3",
    "-c",
    `import hashlib, mmap, sys
f = open(sys.argv[1], "rb")
print(hashlib.sha256(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)).hexdigest())`,
    path("disk"),
  );
  t.equal(mapped.trim(), sha256(WHOLE), "mmap");
  const direct = await run("dd", `if=${path("disk")}`, "bs=1M", "iflag=direct", "status=none");
  t.equal(sha256(direct.stdout), sha256(WHOLE), "O_DIRECT");
  const outcome = await held.release();
  t.equal(sha256(outcome.stdout), sha256(WHOLE), "the first open");
  t.equal(reads(), 0, "no READ came");
  await mounted.unmount();
  t.match(mounted.statistics, { passthroughFiles: 1, openFiles: 0, readsInFlight: 0, readBytes: 0 });
});

void t.test("holes are ours to tell: sparse programs read only around the data", { skip }, async (t) => {
  const { path, record, reads } = await backed(t);
  const script = `import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
print(os.lseek(fd, 0, os.SEEK_HOLE), os.lseek(fd, ${MIB}, os.SEEK_DATA), os.lseek(fd, 6 << 20, os.SEEK_HOLE))`;
  t.equal(await text("python3", "-c", script, path("disk")), `${MIB} ${5 * MIB} ${8 * MIB + 4096}\n`);
  t.ok(record.seeks.length >= 3);
  const copy = join(scratch(t), "copy");
  await text("cp", "--sparse=auto", path("disk"), copy);
  t.equal((await text("sha256sum", copy)).slice(0, 64), sha256(WHOLE));
  t.equal(reads(), 0);
});

for (const [what, variation] of Object.entries({
  "passthrough off": { passthrough: "off" },
  "an offset in the local file": { offset: 4096 },
  "a longer local file": { fileBytes: SIZE + 1 },
  "a shorter local file": { fileBytes: SIZE - 4096 },
} satisfies Record<string, Variation>)) {
  void t.test(`${what}: READs come to us`, { skip: cannotMount() }, async (t) => {
    const { path, mounted, reads } = await backed(t, variation);
    t.equal((await text("sha256sum", path("disk"))).slice(0, 64), sha256(WHOLE));
    t.ok(reads() > 0);
    t.equal(mounted.statistics.passthroughFiles, 0);
    t.equal(mounted.description.includes("passthrough"), what !== "passthrough off" && skip === false);
  });
}

/** A file system of its own for the test, with a file of the image's bytes on it. */
async function fileOn(t: Test, ...mountArguments: string[]): Promise<number> {
  const where = scratch(t);
  await text("mount", ...mountArguments, where);
  t.teardown(async () => {
    await text("umount", "-l", where);
  });
  const file = await open(join(where, "disk"), "w+");
  t.teardown(() => file.close());
  await file.write(WHOLE);
  return file.fd;
}

for (const [what, mountArguments] of Object.entries({
  "without O_DIRECT": () => ["-t", "ramfs", "vmmount-test"],
  // overlayfs is a layer by itself, and one is what we allow in all: the kernel says ELOOP.
  "on another layer": (t: Test) => {
    const [upper, work, lower] = [shared(t), shared(t), shared(t)];
    return ["-t", "overlay", "-o", `lowerdir=${lower},upperdir=${upper},workdir=${work}`, "vmmount-test"];
  },
} satisfies Record<string, (t: Test) => string[]>)) {
  void t.test(`a local file on a file system ${what}: READs come to us`, { skip }, async (t) => {
    const fd = await fileOn(t, ...mountArguments(t));
    const tree = new MemoryFileSystem();
    tree.addFile("disk", { size: SIZE, extents: EXTENTS, localFile: () => ({ fd, offset: bytes(0) }) });
    const { path, mounted } = await mountFor(t, kernelFuseDriver({ logger: silentLogger() }), tree);
    for (const flag of [[], ["iflag=direct"]]) {
      const read = await run("dd", `if=${path("disk")}`, "bs=1M", ...flag, "status=none");
      t.equal(sha256(read.stdout), sha256(WHOLE));
    }
    t.ok((mounted.statistics.requests["READ"] ?? 0) > 0);
    t.equal(mounted.statistics.passthroughFiles, 0);
  });
}

void t.test("after abandoning, an open file goes on giving the local file's bytes", { skip }, async (t) => {
  const { path, mounted, reads } = await backed(t);
  const held = await holdOpen(path("disk"));
  await mounted.abandon();
  t.equal(await mounted.closed, "aborted");
  const outcome = await held.release();
  t.equal(sha256(outcome.stdout), sha256(WHOLE), "right bytes or an error, never others");
  t.equal(reads(), 0);
});

void t.test("abandoning in the middle of many reads does not wait for them", { skip }, async (t) => {
  const { path, mounted } = await backed(t);
  const loop = 'while :; do cat "$1" >/dev/null || exit 1; done';
  const readers = Array.from({ length: 4 }, () => start("sh", "-c", loop, "sh", path("disk")));
  await text("cat", path("disk"));
  await mounted.abandon();
  t.equal(await mounted.closed, "aborted");
  for (const reader of readers) t.not((await reader.outcome).code, 0, "the next open fails");
});

void t.test("the local file may lose its name", { skip }, async (t) => {
  const path = join(shared(t), "disk");
  const file = await open(path, "w+");
  t.teardown(() => file.close());
  await file.write(WHOLE);
  await rm(path);
  const tree = new MemoryFileSystem();
  tree.addFile("disk", { size: SIZE, extents: EXTENTS, localFile: () => ({ fd: file.fd, offset: bytes(0) }) });
  const mount = await mountFor(t, kernelFuseDriver({ logger: silentLogger() }), tree);
  t.equal((await text("sha256sum", mount.path("disk"))).slice(0, 64), sha256(WHOLE));
  t.equal(mount.mounted.statistics.requests["READ"], undefined);
});
