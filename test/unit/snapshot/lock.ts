import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";
import { BusyError } from "../../../src/errors.js";
import { VmLock } from "../../../src/snapshot/lock.js";
import { scratch } from "../../fixtures/scratch.js";
import { failureOf } from "../../fixtures/snapshot-session.js";

const HOLDER = { session: "k3v9q2m7xa", mountPoint: "/mnt/b u", pid: 4242, since: "2026-03-04T05:06:07.890Z" };

function take(directory: string, own: { vm?: string; holder?: typeof HOLDER } = {}): Promise<VmLock> {
  return VmLock.take({ directory, vm: "uuid 1", vmName: "web01", holder: HOLDER, ...own });
}

void t.test("one lock per VM; the second taker hears who has it", async (t) => {
  const directory = scratch(t);
  const first = await take(directory);
  const error = await failureOf(take(directory));
  t.ok(error instanceof BusyError);
  t.equal(
    error.message,
    'Cannot mount "web01": it is mounted on "/mnt/b u" by process 4242 since 2026-03-04T05:06:07.890Z',
  );
  t.equal(error.hint, 'vmmount umount "/mnt/b u"');
  await using other = await take(directory, { vm: "uuid 2" });
  t.ok(other, "another VM is free");
  await first[Symbol.asyncDispose]();
  await using again = await take(directory, { holder: { ...HOLDER, pid: 7 } });
  t.ok(again, "and this one is after its release");
  t.match((await failureOf(take(directory))).message, /by process 7 since/);
});

void t.test("one mount per directory; the second taker hears who has it", async (t) => {
  const directory = scratch(t);
  const first = await VmLock.takeMountPoint(directory, HOLDER);
  const error = await failureOf(VmLock.takeMountPoint(directory, { ...HOLDER, session: "0123456789" }));
  t.ok(error instanceof BusyError);
  t.equal(
    error.message,
    'Cannot mount on "/mnt/b u": session k3v9q2m7xa, process 4242, uses it since 2026-03-04T05:06:07.890Z',
  );
  await using elsewhere = await VmLock.takeMountPoint(directory, { ...HOLDER, mountPoint: "/mnt/c" });
  t.ok(elsewhere);
  await using vm = await take(directory);
  t.ok(vm, "the VM's lock is another one");
  await first[Symbol.asyncDispose]();
  await using again = await VmLock.takeMountPoint(directory, HOLDER);
  t.ok(again);
});

void t.test("a VM's key never becomes a path", async (t) => {
  const directory = scratch(t);
  await using lock = await take(directory, { vm: "../../etc/passwd" });
  t.ok(lock);
  t.match(readdirSync(directory), [/^[0-9a-f]{32}\.lock$/]);
});

void t.test("a taker between lock and holder's line gets no wrong name", async (t) => {
  const directory = scratch(t);
  await using lock = await take(directory);
  t.ok(lock);
  const [name = ""] = readdirSync(directory);
  for (const text of ["", "{", '{"session":1}']) {
    writeFileSync(join(directory, name), text);
    t.match(await failureOf(take(directory)), { message: /another vmmount works on it/, hint: /Try again/ });
  }
});

void t.test("a released lock tells nobody's name", async (t) => {
  const directory = scratch(t);
  const lock = await take(directory);
  const [name = ""] = readdirSync(directory);
  t.strictSame(JSON.parse(readFileSync(join(directory, name), "utf8")), HOLDER);
  await lock[Symbol.asyncDispose]();
  t.equal(readFileSync(join(directory, name), "utf8"), "");
});

void t.test("the lock ends with the process that holds it, however that ends", async (t) => {
  const directory = scratch(t);
  const program = fileURLToPath(new URL("../../fixtures/programs/hold-lock.ts", import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, program, directory], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  t.match(await failureOf(take(directory)), { message: new RegExp(`by process ${child.pid ?? 0} since`) });
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
  await using lock = await take(directory);
  t.ok(lock);
});

void t.test("a directory that is not there is an error", async (t) => {
  await t.rejects(take(join(scratch(t), "none")), { exit: "config", cause: { code: "ENOENT" } });
});
