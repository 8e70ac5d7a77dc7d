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
import { MemoryFileSystem } from "../../fixtures/memory-file-system.js";
import { cannotMount, start, text } from "../../fixtures/mounting.js";

// What becomes of a mount whose process ends, in order or not.

const skip = cannotMount();

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
    const driver = kernelFuseDriver({ logger: silentLogger() });
    const options = { source: "again", allowOther: false, uid: 0, gid: 0, replyBytesMax: bytes(16 * MIB) };
    await t.rejects(driver.mount(new MemoryFileSystem(), where, options), BusyError);
    await text("umount", "-l", where);
    const mounted = await driver.mount(new MemoryFileSystem(), where, options);
    t.teardown(() => mounted.abandon());
    t.equal(await text("ls", where), "");
  },
);
