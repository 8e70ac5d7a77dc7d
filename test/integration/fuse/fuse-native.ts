import { mkdirSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { BusyError, NotFoundError, UsageError } from "../../../src/errors.js";
import { fuseNativeDriver } from "../../../src/fs/fuse-native/native-driver.js";
import { MNT_DETACH, umount } from "../../../src/libc.js";
import { silentLogger } from "../../../src/log.js";
import { bytes, MIB } from "../../../src/units.js";
import { gate } from "../../fixtures/gate.js";
import { MemoryFileSystem } from "../../fixtures/memory-file-system.js";
import { cannotMount, holdOpen, mountFor, run, start, text, type TestMount } from "../../fixtures/mounting.js";

// What this driver does beyond the contract: all the ways libfuse can come to its end, and where it refuses to mount.

const skip = cannotMount();
const driver = fuseNativeDriver({ logger: silentLogger() });
const OPTIONS = { source: "vmmount-test", allowOther: false, uid: 0, gid: 0, replyBytesMax: bytes(MIB) };

async function oneFile(t: Test): Promise<TestMount> {
  const tree = new MemoryFileSystem();
  tree.addFile("disk", { size: 4 * MIB });
  return await mountFor(t, driver, tree);
}

void t.test("umount -f by hand is an abort, and what it leaves can be abandoned", { skip }, async (t) => {
  const { mounted, where, path } = await oneFile(t);
  const held = await holdOpen(path("disk"));
  // Says "target is busy", and aborts all the same.
  await start("umount", "-f", where).outcome;
  t.equal(await mounted.closed, "aborted");
  await mounted.abandon();
  t.not((await held.release()).code, 0);
  t.equal(await text("ls", where), "");
});

void t.test("umount -l by hand: open files go on, the end comes with the last of them", { skip }, async (t) => {
  const { mounted, where, path } = await oneFile(t);
  const held = await holdOpen(path("disk"));
  await text("umount", "-l", where);
  await t.rejects(mounted.unmount(), BusyError);
  const outcome = await held.release();
  t.equal(outcome.code, 0);
  t.equal(outcome.stdout.length, 4 * MIB);
  t.equal(await mounted.closed, "unmounted");
});

void t.test("abandoning works even when no path leads to the mount any more", { skip }, async (t) => {
  const { mounted, where, path } = await oneFile(t);
  const held = await holdOpen(path("disk"));
  await text("umount", "-l", where);
  await mounted.abandon();
  t.equal(await mounted.closed, "aborted");
  const outcome = await held.release();
  t.not(outcome.code, 0);
  t.equal(outcome.stdout.length, 0);
});

void t.test("a mount that somebody put on top is left alone", { skip }, async (t) => {
  const { mounted, where } = await oneFile(t);
  await text("mount", "-t", "tmpfs", "on-top", where);
  t.teardown(() => umount(where, MNT_DETACH).catch(() => undefined));
  await t.rejects(mounted.unmount(), BusyError);
  t.match(await text("cat", "/proc/self/mountinfo"), /tmpfs on-top/);
  await text("umount", where);
  await mounted.unmount();
});

void t.test("metadata is served while reads wait, and a killed reader leaves nothing stuck", { skip }, async (t) => {
  const tree = new MemoryFileSystem();
  const entered = gate();
  const release = gate();
  t.teardown(release.open);
  tree.addFile("disk", {
    size: 8 * MIB,
    beforeRead: () => {
      entered.open();
      return release.opened;
    },
  });
  const { mounted, where, path } = await mountFor(t, driver, tree);
  t.match(mounted.description, /^fuse-native \(libfuse 2\), reads up to 128 KiB, read-ahead 1 MiB, /);
  const reader = start("cat", path("disk"));
  await entered.opened;
  t.equal(await text("ls", where), "disk\n");
  t.match(await text("df", where), /vmmount-test/);
  reader.child.kill("SIGKILL");
  t.equal((await reader.outcome).signal, "SIGKILL");
  const unmounted = mounted.unmount();
  release.open();
  await unmounted;
  t.equal(await mounted.closed, "unmounted");
});

void t.test("another user needs allow_other and the mode bits", { skip }, async (t) => {
  const tree = new MemoryFileSystem();
  tree.addFile("secret", { size: 10, mode: 0o400 });
  tree.addFile("public", { size: 10, mode: 0o444 });
  const { path } = await mountFor(t, driver, tree);
  // The mount point itself is a private directory, so the other user starts inside it.
  const as = (file: string) =>
    run("sh", "-c", `cd "$1" && setpriv --reuid 65534 --clear-groups --inh-caps=-all cat ${file}`, "sh", path("."));
  t.match((await as("secret")).stderr, /Permission denied/);
  t.equal((await as("public")).code, 0);
});

void t.test("where it cannot mount it says why", { skip }, async (t) => {
  const where = t.testdir({ file: "" });
  const tree = new MemoryFileSystem();
  await t.rejects(driver.mount(tree, join(where, "none"), OPTIONS), NotFoundError);
  await t.rejects(driver.mount(tree, join(where, "file"), OPTIONS), UsageError);
  await t.rejects(driver.mount(tree, where, { ...OPTIONS, uid: 7 }), UsageError);
  const deep = join(where, ...Array.from({ length: 6 }, () => "d".repeat(200)));
  mkdirSync(deep, { recursive: true });
  await t.rejects(driver.mount(tree, deep, OPTIONS), UsageError, "a path that the package would cut off");
  await text("mount", "-t", "tmpfs", "below", where);
  await t.rejects(driver.mount(tree, where, OPTIONS), BusyError);
  await text("umount", where);
});

void t.test("without the right to mount it says so before it tries", { skip }, async (t) => {
  const script = `import { checkFuseNative } from ${JSON.stringify(join(import.meta.dirname, "../../../dist/fs/fuse-native/native-driver.js"))};
await checkFuseNative().then(() => console.log("may"), (error) => console.log(error.exit, error.message));`;
  const node = [process.execPath, "--input-type=module", "-e", script];
  t.equal(await text(process.execPath, ...node.slice(1)), "may\n");
  t.match(
    await text("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", ...node),
    /^unavailable .* needs root$/m,
  );
});

void t.test("path names that a shell would read are none to it", { skip }, async (t) => {
  const where = join(t.testdir({}), '$(touch pwned) "x" `id`');
  mkdirSync(where);
  const mounted = await driver.mount(new MemoryFileSystem(), where, OPTIONS);
  await mounted.unmount();
  t.equal(await mounted.closed, "unmounted");
});
