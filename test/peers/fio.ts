import { copyFile, open } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { MIB } from "../../src/units.js";
import { run, succeed } from "../fixtures/host/command-line.js";
import { labDirectory, labIn } from "../fixtures/host/lab-host.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";

/** The data disk of the small lab. */
const DISK_BYTES = 64 * MIB;

/**
 * Every 4 KiB that fio wrote holds its own place and checksum: it knows by itself what each read must give, without the
 * state file that it would leave in the working directory.
 */
const WRITTEN = [`--size=${DISK_BYTES}`, "--bs=4k", "--verify=crc32c", "--verify_state_save=0"];

const JOBS: Readonly<Record<string, readonly string[]>> = {
  "random reads, sixteen at a time": ["--rw=randread", "--ioengine=libaio", "--iodepth=16", "--direct=1"],
  "random reads through the page cache": ["--rw=randread", "--ioengine=psync"],
  "from end to end in 1 MiB": ["--rw=read", "--ioengine=psync", "--bs=1m", "--verify_interval=4k"],
  "four processes at once": ["--rw=randread", "--ioengine=psync", "--direct=1", "--numjobs=4"],
};

void t.test("fio finds on a mounted disk exactly what it wrote there", async (t) => {
  const directory = await labDirectory(t);
  const disk = join(directory, "ds1", "web01", "web01_1-flat.vmdk");
  await succeed("fio", [
    "--name=write",
    `--filename=${disk}`,
    ...WRITTEN,
    "--rw=write",
    "--ioengine=psync",
    "--do_verify=0",
    "--fallocate=none",
  ]);
  const lab = await labIn(t, directory);
  const host = await ProxyHost.make(t, lab);
  await host.json(["mount", "name:web01", host.mountPoint]);
  const image = join(host.mountPoint, "scsi0-1-flat.vmdk");
  const read = (path: string, job: readonly string[]) =>
    run("fio", ["--name=read", `--filename=${path}`, ...WRITTEN, "--readonly", ...job], { cwd: host.directory });
  for (const [name, job] of Object.entries(JOBS)) {
    const { code, stdout, stderr } = await read(image, job);
    t.equal(code, 0, code === 0 ? name : `${name}: ${stdout}${stderr}`);
    await succeed("sh", ["-c", "echo 3 > /proc/sys/vm/drop_caches"]);
  }

  const damaged = join(host.directory, "damaged");
  await copyFile(image, damaged);
  const file = await open(damaged, "r+");
  await file.write(Buffer.from("damage"), 0, 6, DISK_BYTES / 2 + 1000);
  await file.close();
  const found = await read(damaged, JOBS["random reads through the page cache"] ?? []);
  t.not(found.code, 0, "one damaged block would have been found");

  t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
  t.same(await host.leftovers(), NOTHING_LEFT);
});
