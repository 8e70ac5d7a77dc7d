import t from "tap";
import { freeze, type MountContext } from "../../../src/mount/mount-steps.js";
import { silentLogger } from "../../../src/log.js";
import { MemoryServer } from "../../fixtures/memory-hypervisor.js";
import { failureOf, stage } from "../../fixtures/snapshot-session.js";

const { signal } = new AbortController();

void t.test("a snapshot that does not show the VM's disks is refused, not shown as an empty backup", async (t) => {
  const server = new MemoryServer();
  const vm = server.vms[0]!.description;
  const { session } = await stage({ vm }, server);
  await using hypervisor = await server.connect();
  const context = { signal, logger: silentLogger(), onProgress: () => undefined } as unknown as MountContext;
  hypervisor.describeVm = () => Promise.resolve({ ...vm, disks: [] });
  const error = await failureOf(freeze(hypervisor, session, vm, context));
  t.match(error, { exit: "data", message: /does not show .+/ });
});
