import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { kernelFuseDriver } from "../../../src/fs/fuse/kernel-driver.js";
import { silentLogger } from "../../../src/log.js";
import { MIB } from "../../../src/units.js";
import { MemoryFileSystem, pattern, type MemoryFileRecord } from "../../fixtures/memory-file-system.js";
import { cannotMount, mountFor, text } from "../../fixtures/mounting.js";

// What sparse-aware programs make of the mount: they trust SEEK_DATA and st_blocks, and a wrong answer to either would
// be a silent hole in a backup.

const SIZE = 256 * MIB + 8192;
const EXTENTS = [
  { at: 0, data: pattern(4096, 1) },
  { at: 40 * MIB, data: pattern(3 * MIB + 512, 2) },
  { at: 100 * MIB + 4096, data: pattern(65_536, 3) },
  { at: SIZE - 8192, data: pattern(8192, 4) },
];

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex");
}

async function sparseMount(t: Test): Promise<{ path: string; record: MemoryFileRecord; scratch: string }> {
  const tree = new MemoryFileSystem();
  const record = tree.addFile("disk", { size: SIZE, extents: EXTENTS });
  const driver = kernelFuseDriver({ logger: silentLogger() });
  const { path } = await mountFor(t, driver, tree);
  return { path: path("disk"), record, scratch: t.testdir({}) };
}

const bytesRead = (record: MemoryFileRecord): number => record.reads.reduce((sum, read) => sum + read.length, 0);

const skip = cannotMount();

for (const [name, copy] of Object.entries({
  "cp --sparse=always": (from: string, to: string) => text("cp", "--sparse=always", from, to),
  "cp --sparse=auto": (from: string, to: string) => text("cp", "--sparse=auto", from, to),
})) {
  void t.test(`${name} gives identical bytes and reads little more than the data`, { skip }, async (t) => {
    const { path, record, scratch } = await sparseMount(t);
    const copied = join(scratch, "copy");
    await copy(path, copied);
    t.equal(await sha256(copied), (await text("sha256sum", path)).slice(0, 64));
    t.ok(record.seeks.some((seek) => seek.whence === "data"));
  });
}

void t.test("cp reads only around the data", { skip }, async (t) => {
  const { path, record, scratch } = await sparseMount(t);
  await text("cp", "--sparse=auto", path, join(scratch, "copy"));
  t.ok(bytesRead(record) < 16 * MIB, `${bytesRead(record)} bytes read of ${SIZE}`);
});

void t.test("tar -S gives identical bytes and reads only around the data", { skip }, async (t) => {
  const { path, record, scratch } = await sparseMount(t);
  const archive = join(scratch, "archive.tar");
  await text("tar", "-S", "-cf", archive, "-C", join(path, ".."), "disk");
  t.ok(bytesRead(record) < 16 * MIB, `${bytesRead(record)} bytes read of ${SIZE}`);
  await text("tar", "-xf", archive, "-C", scratch);
  t.equal(await sha256(join(scratch, "disk")), (await text("sha256sum", path)).slice(0, 64));
});

void t.test("a file that is one hole, and one without holes", { skip }, async (t) => {
  const tree = new MemoryFileSystem();
  const data = pattern(3 * MIB, 9);
  tree.addFile("hole", { size: 3 * MIB, extents: [] });
  tree.addFile("full", { size: data.length, extents: [{ at: 0, data }] });
  const { path } = await mountFor(t, kernelFuseDriver({ logger: silentLogger() }), tree);
  const scratch = t.testdir({});
  await text("tar", "-S", "-cf", join(scratch, "a.tar"), "-C", path("."), "hole", "full");
  await text("tar", "-xf", join(scratch, "a.tar"), "-C", scratch);
  for (const name of ["hole", "full"]) {
    t.equal(await sha256(join(scratch, name)), (await text("sha256sum", path(name))).slice(0, 64), name);
  }
});
