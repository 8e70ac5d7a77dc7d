import { open } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import {
  errnoName,
  forbidCoreDumps,
  closeBacking,
  mount,
  MNT_DETACH,
  openBacking,
  pageSize,
  SystemCallError,
  tryLock,
  umount,
} from "../../src/libc.js";

void t.test("errno has a name", (t) => {
  t.equal(errnoName(16), "EBUSY");
  t.equal(errnoName(2), "ENOENT");
  t.equal(errnoName(0), "errno 0");
  t.end();
});

void t.test("umount2 and mount reject with the errno of the call", async (t) => {
  const missing = join(t.testdir({}), "missing");
  await t.rejects(umount(missing, MNT_DETACH), { name: "SystemCallError", code: "ENOENT", errno: 2 });
  await t.rejects(umount(t.testdir({}), 0), { code: /^(EINVAL|EPERM)$/ });
  const call = { source: "x", target: missing, type: "tmpfs", flags: 0, data: "" };
  await t.rejects(mount(call), { code: "ENOENT", syscall: "mount", message: `mount ${missing}: ENOENT` });
});

void t.test("only one open file holds the lock", async (t) => {
  const path = join(t.testdir({ lock: "" }), "lock");
  const first = await open(path, "r+");
  const second = await open(path, "r+");
  t.teardown(() => second.close());
  t.equal(tryLock(first.fd), true);
  t.equal(tryLock(first.fd), true, "taking it again through the same file is not an error");
  t.equal(tryLock(second.fd), false);
  await first.close();
  t.equal(tryLock(second.fd), true, "closing gives it back");
  t.throws(() => tryLock(-1), SystemCallError);
});

void t.test("backing files: what is no FUSE connection has none", (t) => {
  const notOpen = 1_000_000;
  t.throws(() => openBacking(notOpen, 0), { code: "EBADF", syscall: "FUSE_DEV_IOC_BACKING_OPEN" });
  t.throws(
    () => {
      closeBacking(notOpen, 1);
    },
    { code: "EBADF", syscall: "FUSE_DEV_IOC_BACKING_CLOSE" },
  );
  t.end();
});

void t.test("facts about this process", (t) => {
  t.ok([4096, 16384, 65536].includes(pageSize()));
  t.doesNotThrow(() => {
    forbidCoreDumps();
  });
  t.end();
});
