import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, readdirSync, readFileSync } from "node:fs";
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
  readCached,
  receiveDescriptor,
  socketPair,
  statFileSystem,
  SystemCallError,
  tryLock,
  umount,
} from "../../src/libc.js";
import { bytes } from "../../src/units.js";

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

void t.test("a descriptor travels through a socket pair, close-on-exec", async (t) => {
  const [ours, theirs] = socketPair();
  t.teardown(() => {
    closeSync(ours);
  });
  t.throws(() => receiveDescriptor(ours), { code: "EAGAIN", syscall: "recvmsg" }, "nothing was sent yet");
  const path = join(t.testdir({ sent: "the same file" }), "sent");
  const script = `import array, socket, sys
file = open(sys.argv[1])
pair = socket.socket(fileno=3)
pair.send(b"x")
rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno()]))]
pair.sendmsg([b"x"], rights)
# Two at once: one is taken, the other must not stay open.
pair.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file.fileno(), 0]))])`;
  const child = spawn("python3", ["-c", script, path], { stdio: ["ignore", "inherit", "inherit", theirs] });
  const [code] = (await once(child, "close")) as [number | null];
  t.equal(code, 0);
  closeSync(theirs);
  t.equal(receiveDescriptor(ours), undefined, "a message without one");
  const fd = receiveDescriptor(ours) ?? -1;
  t.equal(readFileSync(fd, "utf8"), "the same file");
  const flags = /^flags:\s*([0-7]+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1] ?? "";
  t.equal(Number.parseInt(flags, 8) & 0o2000000, 0o2000000, "O_CLOEXEC");
  closeSync(fd);
  const before = readdirSync("/proc/self/fd").length;
  const other = receiveDescriptor(ours) ?? -1;
  t.equal(readdirSync("/proc/self/fd").length, before + 1, "only one of two is taken");
  closeSync(other);
  t.equal(receiveDescriptor(ours), undefined, "the other end is closed");
});

void t.test("statfs answers for what is there", async (t) => {
  await t.resolves(statFileSystem("/"));
  await t.rejects(statFileSystem("/no/such/path"), { code: "ENOENT", syscall: "statfs" });
});

void t.test("readCached() reads what is in the page cache, never more, and never waits", async (t) => {
  const path = join(t.testdir({}), "file");
  const content = Buffer.alloc(3 * 4096, "abc");
  await using file = await open(path, "w+");
  await file.write(content);
  const into = Buffer.alloc(4096);
  t.equal(readCached(file.fd, into, bytes(5000)), 4096, "it was written a moment ago");
  t.equal(into.compare(content, 5000, 9096), 0);
  t.equal(readCached(file.fd, into, bytes(10_000)), 2288, "up to the end");
  t.equal(readCached(file.fd, into, bytes(20_000)), 0);
  t.throws(() => readCached(-1, into, bytes(0)), { name: "SystemCallError", code: "EBADF" });
});
