import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { randomBytes } from "node:crypto";
import t from "tap";
import { IntegrityError } from "../../../src/errors.js";
import { allocatedRanges } from "../../../src/lab/disk/allocation.js";
import { ChangeLog } from "../../../src/lab/disk/change-log.js";
import { LabDisk } from "../../../src/lab/disk/lab-disk.js";
import { makeSparseFile } from "../../../src/lab/init/partitioned-disk.js";
import type { DiskSlot } from "../../../src/lab/vm-folder.js";
import { open } from "node:fs/promises";
import { scratch } from "../../fixtures/scratch.js";

const SIZE = 5 * 1024 * 1024;

function descriptor(extent: string, rest = ""): string {
  return `# Disk DescriptorFile\nversion=1\nCID=11111111\nparentCID=ffffffff\ncreateType="vmfs"\nRW ${SIZE / 512} VMFS "${extent}"\n${rest}`;
}

function slot(path: string): DiskSlot {
  return {
    key: 2000,
    controllerKey: 1000,
    bus: "scsi",
    busNumber: 0,
    unit: 0,
    mode: "persistent",
    sharing: "sharingNone",
    path,
  };
}

async function newDisk(folder: string): Promise<LabDisk> {
  await makeSparseFile(join(folder, "d-flat.vmdk"), SIZE);
  await writeFile(join(folder, "d.vmdk"), descriptor("d-flat.vmdk"));
  return LabDisk.open(slot(join(folder, "d.vmdk")), new ChangeLog());
}

async function readAll(disk: LabDisk, frozen?: string): Promise<Buffer> {
  const all = Buffer.alloc(disk.capacity);
  await disk.read(all, 0, frozen);
  return all;
}

/** What qemu-img reads from a chain: nobody of this project wrote it. */
async function asQemuReads(folder: string, name: string): Promise<Buffer> {
  const raw = join(folder, `${name}.raw`);
  execFileSync("qemu-img", ["convert", "-f", "vmdk", "-O", "raw", join(folder, name), raw]);
  return readFile(raw);
}

await t.test("writes go to the newest link, frozen links never change, merging keeps the newest bytes", async (t) => {
  const folder = scratch(t);
  const disk = await newDisk(folder);
  const model = Buffer.alloc(SIZE);
  const write = async (at: number, bytes: Buffer): Promise<void> => {
    await disk.write(bytes, at);
    bytes.copy(model, at);
  };
  await write(0, randomBytes(4096));
  const first = await disk.freeze();
  const atFirst = Buffer.from(model);
  const baseFile = await readFile(join(folder, "d-flat.vmdk"));
  // Across a grain table's 2 MiB border, twice over the same place, and at the very end.
  await write(2 * 1024 * 1024 - 1024, randomBytes(2048));
  await write(2 * 1024 * 1024 - 512, randomBytes(512));
  await write(SIZE - 512, randomBytes(512));
  const second = await disk.freeze();
  const atSecond = Buffer.from(model);
  await write(512, randomBytes(1024));
  t.strictSame(
    disk.links.map(({ link }) => basename(link.files.descriptor)),
    ["d.vmdk", "d-000001.vmdk", "d-000002.vmdk"],
  );
  t.ok((await readAll(disk)).equals(model));
  t.ok((await readAll(disk, first)).equals(atFirst));
  t.ok((await readAll(disk, second)).equals(atSecond));
  t.ok((await readFile(join(folder, "d-flat.vmdk"))).equals(baseFile), "the base was not touched");

  if (existsSync("/usr/bin/qemu-img")) {
    t.ok((await asQemuReads(folder, "d-000002.vmdk")).equals(model), "qemu-img reads the same through the chain");
    t.ok((await asQemuReads(folder, "d-000001.vmdk")).equals(atSecond), "and at the second snapshot");
  }

  const again = await LabDisk.open(slot(join(folder, "d-000002.vmdk")), new ChangeLog());
  t.ok((await readAll(again)).equals(model), "a second opening sees the same");
  await again.close();

  t.equal(await disk.merge(first), second, "the link after the base vanishes");
  t.ok((await readAll(disk)).equals(model));
  t.ok((await readAll(disk, first)).equals(atSecond), "the base holds what the merged link held");
  await write(1024, randomBytes(512));
  await disk.merge(first);
  t.ok((await readAll(disk)).equals(model));
  t.ok((await readFile(join(folder, "d-flat.vmdk"))).equals(model));
  t.strictSame((await readdir(folder)).filter((name) => name.endsWith(".vmdk")).sort(), ["d-flat.vmdk", "d.vmdk"]);
  await disk.close();
});

await t.test("content ids: a child names its parent's, a written link has a new one", async (t) => {
  const folder = scratch(t);
  const disk = await newDisk(folder);
  const frozen = await disk.freeze();
  t.equal(disk.newest.descriptor.cid, disk.base.cid, "nothing written yet");
  await disk.write(Buffer.alloc(512, 1), 0);
  t.not(disk.newest.descriptor.cid, disk.base.cid);
  t.equal(disk.newest.descriptor.parentCid, disk.base.cid);
  const { cid } = disk.newest.descriptor;
  await disk.merge(frozen);
  t.equal(disk.base.cid, cid);
  await disk.close();
});

await t.test("allocated ranges come from the file system and from the delta", async (t) => {
  const folder = scratch(t);
  const disk = await newDisk(folder);
  t.strictSame(await disk.allocated(), []);
  await disk.write(Buffer.alloc(65536, 1), 1024 * 1024);
  t.strictSame(await disk.allocated(), [{ start: 1024 * 1024, length: 65536 }]);
  const frozen = await disk.freeze();
  await disk.write(Buffer.alloc(512, 2), 0);
  t.strictSame(await disk.allocated(), [
    { start: 0, length: 512 },
    { start: 1024 * 1024, length: 65536 },
  ]);
  t.strictSame(await disk.allocated(frozen), [{ start: 1024 * 1024, length: 65536 }]);
  await disk.close();
});

await t.test("a file without holes has no sparse map", async (t) => {
  const path = join(scratch(t), "-full file");
  await writeFile(path, randomBytes(70_000));
  await using file = await open(path, "r");
  t.equal(await allocatedRanges(path, file), undefined);
});

await t.test("only whole sectors inside the disk", async (t) => {
  const disk = await newDisk(scratch(t));
  for (const [at, length] of [
    [1, 512],
    [0, 100],
    [SIZE, 512],
    [-512, 512],
  ] as const) {
    t.throws(() => disk.write(Buffer.alloc(length), at), RangeError);
  }
  await disk.close();
});

await t.test("damaged folders are refused", async (t) => {
  const folder = scratch(t);
  await makeSparseFile(join(folder, "short-flat.vmdk"), SIZE - 512);
  await writeFile(join(folder, "short.vmdk"), descriptor("short-flat.vmdk"));
  await t.rejects(LabDisk.open(slot(join(folder, "short.vmdk")), new ChangeLog()), IntegrityError, "extent too short");
  const child = descriptor("x.vmdk").replace("parentCID=ffffffff", "parentCID=11111111");
  await writeFile(join(folder, "loop.vmdk"), `${child}parentFileNameHint="loop.vmdk"\n`);
  await t.rejects(LabDisk.open(slot(join(folder, "loop.vmdk")), new ChangeLog()), /longer than 33/);
  await writeFile(join(folder, "out.vmdk"), `${child}parentFileNameHint="../d.vmdk"\n`);
  await t.rejects(LabDisk.open(slot(join(folder, "out.vmdk")), new ChangeLog()), /outside the machine's folder/);
  await writeFile(join(folder, "big.vmdk"), Buffer.alloc(100_000, "#"));
  await t.rejects(LabDisk.open(slot(join(folder, "big.vmdk")), new ChangeLog()), IntegrityError, "no descriptor");
});
