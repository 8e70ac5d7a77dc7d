import t, { type Test } from "tap";
import { silentLogger } from "../../src/log.js";
import { connectVsphere } from "../../src/vsphere/connect.js";
import { NEEDED_PRIVILEGES } from "../../src/vsphere/privileges.js";
import { command } from "../fixtures/cli/command.js";
import { healthContract } from "../fixtures/contract/health.js";
import { configIn } from "../fixtures/mount/config.js";
import { scratch } from "../fixtures/scratch.js";
import { startVcsim, type Vcsim, withVcsim } from "../fixtures/vsphere/vcsim.js";
import { ESXI_HOST, furnish, VCENTER } from "../fixtures/vsphere/vcsim-vm.js";

/** `vmmount check` against VMware's own simulator: the stand-in is not asked by our client alone. */
const { signal } = new AbortController();

await withVcsim(t, async (program) => {
  await t.test("vCenter", (t) => suite(t, program, VCENTER));
  await t.test("ESXi host", (t) => suite(t, program, ESXI_HOST));
});

async function suite(
  t: Test,
  program: string,
  { args, name }: { args: readonly string[]; name: string },
): Promise<void> {
  await using vcsim = await startVcsim(program, args);
  await furnish(vcsim, name);
  const { url, user, password, fingerprint } = vcsim;
  const connect = () =>
    connectVsphere({ url, user, password, tls: { fingerprint, insecure: false }, logger: silentLogger(), signal });
  const vm = await refOf(connect, name);
  t.comment("the simulator grants every privilege to everybody, and answers NotFound for no object");
  await t.test("health contract", (t) =>
    healthContract(t, {
      connect,
      vm,
      clockSkewMs: 0,
      mayEverything: true,
      remembers: !args.includes("-esx"),
      happen: async (server) => {
        const spec = { name: "made by a test", description: "", quiesce: false };
        await server.removeSnapshot((await server.createSnapshot(vm, spec, { signal })).ref, { signal });
      },
    }),
  );
  await t.test("the command", (t) => theCommand(t, vcsim, name));
}

async function refOf(connect: () => ReturnType<typeof connectVsphere>, name: string): Promise<string> {
  await using server = await connect();
  const [found] = await server.findVms({ kind: "name", name }, { signal });
  if (found === undefined) throw new Error(`the simulator has no ${name}`);
  return found.ref;
}

async function theCommand(t: Test, { url, user, password, fingerprint }: Vcsim, name: string): Promise<void> {
  const directory = scratch(t);
  const login = `url = "${url}"\nuser = "${user}"\nfingerprint = "${fingerprint}"\n`;
  configIn(
    directory,
    `[server.sim]\n${login}password = ${JSON.stringify(password)}\n[server.wrong]\n${login}password = "no"\n`,
  );
  const env = {
    VMMOUNT_CONFIG: `${directory}/config.toml`,
    VMMOUNT_STATE_DIR: `${directory}/state`,
    VMMOUNT_RUNTIME_DIR: `${directory}/run`,
    VMMOUNT_CACHE_DIR: `${directory}/cache`,
  };
  const { out, code, error } = await command(["check", "sim", `name:${name}`, "--json"], { env });
  t.equal(code, 0, error?.message ?? "");
  const { checks } = JSON.parse(out) as { checks: { id: string; state: string }[] };
  const state = (id: string) => checks.filter((one) => one.id === id).map((one) => one.state)[0];
  for (const id of [
    "server.login",
    "server.certificate",
    "server.clock",
    "vm.found",
    "vm.disk.scsi0-0",
    "vm.snapshot",
  ]) {
    t.equal(state(id), "ok", id);
  }
  for (const { name: privilege, on } of NEEDED_PRIVILEGES) {
    if (on !== "root") t.equal(state(`privilege.${privilege}@${on}`), "ok", privilege);
  }
  t.ok(checks.some(({ id }) => id === "port.902"));
  t.ok(checks.some(({ id }) => id === "vm.room"));
  t.match(await command(["check", "wrong"], { env }), { code: 77 });
}
