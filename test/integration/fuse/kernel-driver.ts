import { readFileSync } from "node:fs";
import t from "tap";
import { DiskIoError, errorFacts, MissingCapabilityError } from "../../../src/errors.js";
import { kernelFuseDriver } from "../../../src/fs/fuse/kernel-driver.js";
import { readMountInfo, topMountAt } from "../../../src/mount-info.js";
import { silentLogger } from "../../../src/log.js";
import { bytes, MIB } from "../../../src/units.js";
import { gate } from "../../fixtures/gate.js";
import { MemoryFileSystem, pattern } from "../../fixtures/memory-file-system.js";
import { cannotMount, mountFor, run, text } from "../../fixtures/mounting.js";

// What the kernel driver promises beyond the contract of every driver: how it mounts, and how few requests it takes.

const skip = cannotMount();
const logger = silentLogger();
const driver = kernelFuseDriver({ logger });
const OPTIONS = { source: "vmmount-test", allowOther: false, uid: 0, gid: 0, replyBytesMax: bytes(16 * MIB) };

void t.test("the mount is read-only, nosuid, nodev, noexec, and checks permissions", { skip }, async (t) => {
  const { where, mounted } = await mountFor(t, driver, new MemoryFileSystem());
  const line = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .find((entry) => entry.includes(where.replaceAll(" ", "\\040")));
  t.match(line, / ro,nosuid,nodev,noexec,/);
  t.match(line, / - fuse\.vmmount vmmount-test:\S+ ro,user_id=0,group_id=0,default_permissions,allow_other/);
  t.match(
    mounted.description,
    /^kernel FUSE 7\.\d+, reads up to 1 MiB, read-ahead 1 MiB(, passthrough of local files)?$/,
  );
  const device = topMountAt(await readMountInfo(), where)?.device ?? "";
  t.equal(readFileSync(`/sys/class/bdi/${device}/read_ahead_kb`, "utf8"), "1024\n");
});

void t.test("without the device it says what to do", async (t) => {
  const missing = kernelFuseDriver({ logger, device: "/dev/no-such-device" });
  const where = t.testdir({});
  await t.rejects(missing.mount(new MemoryFileSystem(), where, OPTIONS), MissingCapabilityError);
  const facts = await missing.mount(new MemoryFileSystem(), where, OPTIONS).then(() => undefined, errorFacts);
  t.match(facts, { code: 69, hint: /modprobe fuse/ });
});

void t.test("what the kernel has seen once is not asked again", { skip }, async (t) => {
  const data = pattern(4 * MIB, 1);
  const tree = new MemoryFileSystem();
  for (let index = 0; index < 100; index++)
    tree.addFile(`disk${index}`, { size: data.length, extents: [{ at: 0, data }] });
  const { path, where, mounted } = await mountFor(t, driver, tree);
  const look = async (): Promise<void> => {
    await text("cat", path("disk0"));
    await text("ls", "-l", where);
    await run("cat", path("missing"));
  };
  await look();
  const first = mounted.statistics.requests;
  t.ok((first["LOOKUP"] ?? 0) < 10, "a listing takes no LOOKUP per entry");
  await look();
  const second = mounted.statistics.requests;
  for (const operation of ["READ", "LOOKUP", "GETATTR", "GETXATTR", "FLUSH"]) {
    t.equal(second[operation], first[operation], operation);
  }
});

void t.test("nothing has extended attributes: programs hear so, and the kernel asks once", { skip }, async (t) => {
  const tree = new MemoryFileSystem();
  for (const name of ["disk0", "disk1"]) tree.addFile(name, { size: 1 });
  const { path, mounted } = await mountFor(t, driver, tree);
  const script = `import errno, os, sys
for path in sys.argv[1:]:
    for ask in (lambda: os.getxattr(path, "user.mime_type"), lambda: os.listxattr(path)):
        try:
            print(ask())
        except OSError as error:
            print(errno.errorcode[error.errno])`;
  const paths = [path("disk0"), path("disk1"), path("disk0")];
  t.equal(await text("python3", "-c", script, ...paths), "ENOTSUP\n".repeat(2 * paths.length));
  t.match(mounted.statistics.requests, { GETXATTR: 1, LISTXATTR: 1 });
});

void t.test("sequential readers get 1 MiB requests, O_DIRECT ones several at once", { skip }, async (t) => {
  const tree = new MemoryFileSystem();
  const record = tree.addFile("cached", { size: 64 * MIB });
  let running = 0;
  let peak = 0;
  const eight = gate();
  const direct = tree.addFile("direct", {
    size: 8 * MIB,
    beforeRead: async () => {
      running++;
      peak = Math.max(peak, running);
      if (running === 8) eight.open();
      await eight.opened;
      running--;
    },
  });
  const { path } = await mountFor(t, driver, tree);
  await text("dd", `if=${path("cached")}`, "of=/dev/null", "bs=64k", "status=none");
  const large = record.reads.filter((read) => read.length === MIB).length;
  t.ok(large >= 60, `${large} of 64 MiB came in requests of 1 MiB`);
  await text("dd", `if=${path("direct")}`, "of=/dev/null", "bs=8M", "iflag=direct", "status=none");
  t.equal(peak, 8);
  t.strictSame([...new Set(direct.reads.map((read) => read.length))], [MIB]);
});

void t.test("a bad block is not asked for page by page", { skip }, async (t) => {
  const tree = new MemoryFileSystem();
  let failures = 0;
  tree.addFile("disk", {
    size: 8 * MIB,
    beforeRead: (at, length) => {
      if (at + length <= 4 * MIB || at >= 5 * MIB) return;
      failures++;
      throw new DiskIoError("Cannot read the block: it is damaged");
    },
  });
  const { path } = await mountFor(t, driver, tree);
  const outcome = await run("dd", `if=${path("disk")}`, "of=/dev/null", "bs=4k", "conv=noerror");
  t.equal(outcome.stderr.match(/Input\/output error/g)?.length, 256, "dd asked for each page");
  t.ok(failures < 10, `${failures} attempts reached the file system`);
});
