import t from "tap";
import { loadConfig } from "../../../src/config.js";
import { freeze, type MountContext } from "../../../src/mount/mount-steps.js";
import { silentLogger } from "../../../src/log.js";
import { MemoryServer } from "../../fixtures/memory-hypervisor.js";
import { failureOf, stage } from "../../fixtures/snapshot-session.js";

const { signal } = new AbortController();
const { settings } = loadConfig({ file: "/dev/null", env: {}, flags: [] });
const context = {
  signal,
  logger: silentLogger(),
  onProgress: () => undefined,
  request: { settings },
} as unknown as MountContext;

void t.test("a snapshot that does not show the VM's disks is refused, not shown as an empty backup", async (t) => {
  const server = new MemoryServer();
  const vm = server.vms[0]!.description;
  const { session } = await stage({ vm }, server);
  await using hypervisor = await server.connect();
  hypervisor.describeVm = () => Promise.resolve({ ...vm, disks: [] });
  const error = await failureOf(freeze(hypervisor, session, vm, context));
  t.match(error, { exit: "data", message: /does not show .+/ });
});

void t.test("disks that the server left out of the snapshot are told of as left out", async (t) => {
  const server = new MemoryServer();
  const vm = server.vms[0]!.description;
  const excludedBecause = "it is shared between VMs, and such disks have no snapshots";
  const disks = vm.disks.map((disk, index) => ({
    ...disk,
    excludedBecause: index === 0 ? undefined : excludedBecause,
  }));
  t.ok(disks.length > 1);
  const { session } = await stage({ vm: { ...vm, disks } }, server);
  await using hypervisor = await server.connect();
  hypervisor.describeVm = () => Promise.resolve({ ...vm, disks: disks.slice(0, 1) });
  const frozen = await freeze(hypervisor, session, { ...vm, disks }, context);
  t.strictSame(frozen.vm.disks, disks);
});
