import { execFileSync } from "node:child_process";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { MIB } from "../../../src/units.js";
import { type Ended, run, succeed } from "../../fixtures/host/command-line.js";
import { buildVddkStandIn, VDDK_6, VDDK_8, VddkRules } from "../../fixtures/host/vddk-stand-in.js";
import { LabClient } from "../../fixtures/lab-client.js";
import { testLab } from "../../fixtures/lab.js";
import { scratch } from "../../fixtures/scratch.js";

/** The data disk of web01, and the lab's VM as the plugin names it. */
const DISK = 2001;
/** nbdkit opens disks in a thread per client. */
const ANY_THREAD = "threads=any";

/** Path or name of the plugin that nbdkit's authors wrote for VDDK, or why there is none. */
function vddkPlugin(): { readonly path: string } | { readonly missing: string } {
  try {
    const build = fileURLToPath(new URL("build-nbdkit-plugin", import.meta.url));
    return { path: execFileSync(build, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim() };
  } catch (error) {
    return { missing: String((error as { stderr?: unknown }).stderr ?? error).trim() };
  }
}

interface Serve {
  readonly libDir: string;
  readonly rules: VddkRules;
  readonly disk: string;
  /** Shell commands for which `$uri` is the disk. */
  readonly commands: string;
  readonly options?: readonly string[];
}

function nbdkitWith(plugin: string): (serve: Serve) => Promise<Ended> {
  return ({ libDir, rules, disk, commands, options = [] }) => {
    const remote = ["server=vcenter.example", "user=backup", "password=secret", "vm=moref=vm-42", ...options];
    const words = ["-r", "-f", "-U", "-", plugin, `libdir=${libDir}`, ...remote, disk, "--run", commands];
    return run("nbdkit", words, { env: rules.env });
  };
}

async function tests(t: Test, plugin: string): Promise<void> {
  await buildVddkStandIn();
  const nbdkit = nbdkitWith(plugin);
  const { lab, directory } = await testLab(t);
  const web01 = lab.vm("web01");
  const frozen = `[ds1] ${basename(web01.folder)}/web01_1.vmdk`;
  const delta = `[ds1] ${basename(web01.folder)}/web01_1-000001.vmdk`;
  const client = await LabClient.loggedIn(lab);
  await client.snapshot(web01.ref, "frozen");
  await web01.guest.write(DISK, 3 * MIB, Buffer.alloc(512 * 1024, 0x5a));
  await client.snapshot(web01.ref, "frozen again");

  for (const [name, libDir, version] of [
    ["8.0", VDDK_8, "8"],
    ["6.5", VDDK_6, "6"],
  ] as const) {
    await t.test(`disks of the lab by VDDK ${name}`, async (t) => {
      const rules = await VddkRules.write(t, directory, [ANY_THREAD]);
      const dumped = await run("nbdkit", [plugin, "--dump-plugin", `libdir=${libDir}`], { env: rules.env });
      t.match(dumped.stdout, `vddk_library_version=${version}`);
      const folder = scratch(t);
      const options = ["snapshot=snapshot-1"];
      const copy = { libDir, rules, options, commands: `nbdcopy "$uri" '${folder}/raw'` };
      const base = await nbdkit({ ...copy, disk: frozen });
      t.equal(base.code, 0, base.stderr);
      await succeed("cmp", [join(folder, "raw"), join(web01.folder, "web01_1-flat.vmdk")]);
      const top = await nbdkit({ ...copy, disk: delta });
      t.equal(top.code, 0, top.stderr);
      const [hash] = (await succeed("sha256sum", [join(folder, "raw")])).split(" ");
      t.equal(hash, await web01.hashDisk(DISK, "now"), "base and delta together");
      const events = await rules.events();
      t.ok(events.includes(`open 1 nbdssl ${frozen}`));
      t.equal(events.filter((line) => line === "exit").length, 2);
    });
  }

  await t.test("what is allocated covers all data, and little else", async (t) => {
    const rules = await VddkRules.write(t, directory, [ANY_THREAD]);
    const commands = `nbdinfo --map --json "$uri"; nbdinfo --map --totals --json "$uri" >&2`;
    const { code, stdout, stderr } = await nbdkit({ libDir: VDDK_8, rules, disk: delta, commands });
    t.equal(code, 0, stderr);
    const map = JSON.parse(stdout) as { readonly offset: number; readonly length: number; readonly type: number }[];
    let end = 0;
    for (const { offset, length } of map) {
      t.equal(offset, end);
      end = offset + length;
    }
    t.equal(end, 16 * MIB, "the map covers the disk");
    const content = await web01.readAt(DISK, "now", 0, 16 * MIB);
    const holes = map.filter(({ type }) => type !== 0);
    t.ok(holes.length > 0);
    for (const { offset, length } of holes) {
      t.ok(
        content.subarray(offset, offset + length).every((byte) => byte === 0),
        `a hole at ${offset} reads as zeros`,
      );
    }
    const written = map.filter(({ type }) => type === 0);
    t.ok(written.some(({ offset, length }) => offset <= 3 * MIB && offset + length >= 3.5 * MIB));
  });

  await t.test("refusals of the server reach nbdkit's user", async (t) => {
    const rules = await VddkRules.write(t, directory, [ANY_THREAD, "thumbprint=AA:BB", "running=vm-42"]);
    const look = (...options: string[]) =>
      nbdkit({ libDir: VDDK_8, rules, disk: frozen, commands: `nbdinfo --size "$uri"`, options });
    const wrong = await look("thumbprint=CC:DD", "snapshot=snapshot-1");
    t.not(wrong.code, 0);
    t.match(wrong.stderr, "the thumbprint of vcenter.example is AA:BB and not CC:DD");
    t.match(wrong.stderr, /VixDiskLib_Open: .*: Unknown error/);
    const running = await look("thumbprint=AA:BB");
    t.not(running.code, 0);
    t.match(running.stderr, "vm-42 is running");
    const good = await look("thumbprint=aa:bb", "snapshot=snapshot-1");
    t.equal(good.stdout.trim(), String(16 * MIB), good.stderr);
    await rules.set([ANY_THREAD, "snapshots=snapshot-9"]);
    const unknown = await look("snapshot=snapshot-1");
    t.not(unknown.code, 0);
    t.match(unknown.stderr, "The snapshot does not exist");
    t.notMatch([wrong, running, good, unknown].map(({ stderr }) => stderr).join(""), "secret");
  });

  await t.test("a failed read is an error of the client, and the next one succeeds", async (t) => {
    const rules = await VddkRules.write(t, directory, [ANY_THREAD, "fail_read=14011@1"]);
    const read = `qemu-io -r -f raw -c 'read 0 4096' "$uri"; qemu-io -r -f raw -c 'read 8192 4096' "$uri"`;
    const { stdout, stderr } = await nbdkit({ libDir: VDDK_8, rules, disk: frozen, commands: read });
    t.match(`${stdout}${stderr}`, /read failed: Input\/output error/);
    t.match(stdout, "read 4096/4096 bytes at offset 8192");
    t.match(stderr, "The TCP connection to the host was lost");
  });
}

await t.test("nbdkit's own plugin reads through the stand-in", async (t) => {
  const plugin = vddkPlugin();
  if ("missing" in plugin) t.plan(0, plugin.missing);
  else await tests(t, plugin.path);
});
