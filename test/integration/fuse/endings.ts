import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { BusyError } from "../../../src/errors.js";
import { kernelFuseDriver } from "../../../src/fs/fuse/kernel-driver.js";
import { MNT_DETACH, umount } from "../../../src/libc.js";
import { silentLogger } from "../../../src/log.js";
import { bytes, MIB } from "../../../src/units.js";
import { gate } from "../../fixtures/gate.js";
import { MemoryFileSystem } from "../../fixtures/memory-file-system.js";
import {
  cannotMount,
  holdOpen,
  mountFor,
  start,
  startFaulting,
  text,
  type TestMount,
} from "../../fixtures/mounting.js";

// All the ways a mount can end that are not `umount` with nobody in it.

const skip = cannotMount();
const driver = kernelFuseDriver({ logger: silentLogger() });

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

void t.test("a reader that is killed in mid-read is gone at once and leaves nothing stuck", { skip }, async (t) => {
  const tree = new MemoryFileSystem();
  const entered = gate();
  const release = gate();
  tree.addFile("disk", {
    size: 8 * MIB,
    beforeRead: async () => {
      entered.open();
      await release.opened;
    },
  });
  const { mounted, path } = await mountFor(t, driver, tree);
  const reader = start("cat", path("disk"));
  await entered.opened;
  reader.child.kill("SIGKILL");
  t.equal((await reader.outcome).signal, "SIGKILL");
  // The kernel waits for the reads it has sent before it lets go, and this process still answers meanwhile.
  const unmounted = mounted.unmount();
  release.open();
  await unmounted;
  t.equal(await mounted.closed, "unmounted");
});

void t.test("a reader that is killed in a page fault is freed by our answer to INTERRUPT", { skip }, async (t) => {
  const tree = new MemoryFileSystem();
  const entered = gate();
  const aborted = gate();
  tree.addFile("disk", {
    size: 8 * MIB,
    beforeRead: (_at, _length, signal) => {
      signal.addEventListener("abort", aborted.open);
      entered.open();
      return aborted.opened;
    },
  });
  const { mounted, path } = await mountFor(t, driver, tree);
  const reader = startFaulting(path("disk"));
  await entered.opened;
  reader.child.kill("SIGKILL");
  t.equal((await reader.outcome).signal, "SIGKILL");
  t.ok((mounted.statistics.requests["INTERRUPT"] ?? 0) > 0);
  await mounted.unmount();
});

/** A mount served by a process of its own. */
async function serveElsewhere(t: Test) {
  const where = mkdtempSync(join(tmpdir(), "vmmount-test-"));
  t.teardown(async () => {
    await umount(where, MNT_DETACH).catch(() => undefined);
    rmdirSync(where);
  });
  const program = join(import.meta.dirname, "../../fixtures/serve-mount.ts");
  const child = spawn(process.execPath, [...process.execArgv, program, where], { stdio: ["pipe", "pipe", "inherit"] });
  t.teardown(() => {
    child.kill("SIGKILL");
  });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  t.equal(line.toString(), "mounted\n");
  return { where, child };
}

void t.test("a process that has unmounted ends by itself within a second", { skip }, async (t) => {
  const { where, child } = await serveElsewhere(t);
  await text("cat", join(where, "disk"));
  child.stdin.write("\n");
  await once(child.stdout, "data");
  const unmountedAt = performance.now();
  const [code] = (await once(child, "exit")) as [number | null];
  t.equal(code, 0);
  t.ok(performance.now() - unmountedAt < 1000);
});

void t.test(
  "after SIGKILL of the serving process readers get an error and a new mount says why not",
  { skip },
  async (t) => {
    const { where, child } = await serveElsewhere(t);
    child.kill("SIGKILL");
    await once(child, "exit");
    const outcome = await start("ls", where).outcome;
    t.match(outcome.stderr, /Transport endpoint is not connected/);
    const options = { source: "again", allowOther: false, uid: 0, gid: 0, replyBytesMax: bytes(16 * MIB) };
    await t.rejects(driver.mount(new MemoryFileSystem(), where, options), BusyError);
    await text("umount", "-l", where);
    const mounted = await driver.mount(new MemoryFileSystem(), where, options);
    t.teardown(() => mounted.abandon());
    t.equal(await text("ls", where), "");
  },
);
