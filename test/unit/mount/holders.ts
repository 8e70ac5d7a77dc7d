import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { BusyError } from "../../../src/errors.js";
import { busyMount, findHolders } from "../../../src/mount/holders.js";
import { scratch } from "../../fixtures/scratch.js";

/** A shell that says when it is ready and stays until it is told to go. */
async function shell(t: Test, script: string, cwd: string): Promise<number> {
  const child = spawn("sh", ["-c", `${script}; echo ready; read -r _`], { cwd, stdio: ["pipe", "pipe", "inherit"] });
  t.teardown(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  return child.pid ?? 0;
}

void t.test("findHolders() finds open files and working directories, and nobody else", async (t) => {
  const top = realpathSync(scratch(t));
  const mount = join(top, "mnt");
  mkdirSync(join(mount, "sub"), { recursive: true });
  mkdirSync(join(top, "mnt2"));
  writeFileSync(join(mount, "sub/disk"), "");
  writeFileSync(join(top, "mnt2/disk"), "");
  t.strictSame(await findHolders(mount), []);
  const reader = await shell(t, `exec 7<'${mount}/sub/disk'`, "/");
  const worker = await shell(t, "true", mount);
  await shell(t, `exec 7<'${top}/mnt2/disk'`, "/");
  const holders = await findHolders(mount);
  t.strictSame(
    holders.map(({ pid, path }) => [pid, path]).sort((a, b) => Number(a[0]) - Number(b[0])),
    [
      [reader, join(mount, "sub/disk")],
      [worker, mount],
    ].sort((a, b) => Number(a[0]) - Number(b[0])),
  );
  t.match(holders[0]?.command, /sh/);
  const busy = await busyMount(mount, new BusyError("It is in use"));
  t.match(busy.message, new RegExp(`sh \\(pid ${reader}\\) uses "${mount}/sub/disk"`));
});

void t.test("findHolders() names ten at most", async (t) => {
  const top = realpathSync(scratch(t));
  for (let i = 0; i < 12; i++) await shell(t, "true", top);
  t.equal((await findHolders(top)).length, 10);
});
