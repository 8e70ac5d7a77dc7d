import { errorFacts } from "../errors.js";
import type { Hypervisor, VmIdentity } from "../hypervisor.js";
import type { Locator } from "../locator.js";
import { resolveVm } from "../mount/resolve-vm.js";
import { listSessions } from "../mount/session-list.js";
import type { StatePaths } from "../mount/state-paths.js";
import type { Settings } from "../settings.js";
import type { Transport } from "../transports.js";
import { bounded } from "./bounded.js";
import { failed, type Finding, ok } from "./finding.js";
import { checkPorts, judgeNbdService } from "./host-ports.js";
import { about, type Check } from "./report.js";
import { checkRights } from "./server-rights.js";
import { judgeRoom } from "./storage-room.js";
import { judgeSnapshots } from "./vm-snapshots.js";
import { judgeVm } from "./vm-state.js";

export interface VmCheckOptions {
  readonly settings: Settings;
  readonly paths: StatePaths;
  readonly usable: readonly Transport[];
  readonly questionMs?: number | undefined;
}

/** Chains of a server that says nothing of its own limit. */
const CHAIN_MAX = 32;

/** Everything about one VM. */
export async function checkVm(
  hypervisor: Hypervisor,
  locator: Locator,
  options: VmCheckOptions,
  signal: AbortSignal,
): Promise<Check[]> {
  const ask = (id: string, work: Parameters<typeof bounded>[2]): Promise<readonly Finding[]> =>
    bounded(id, signal, work, options.questionMs);
  let found: VmIdentity | undefined;
  const lookUp = await ask("vm.found", async (asked) => {
    found = await resolveVm(hypervisor, locator, { signal: asked });
    return ok("vm.found", `${found.path} is there`);
  });
  const vm = found;
  if (vm === undefined) return about({ kind: "vm", name: locator.text }, lookUp);
  const findings: Finding[] = [...lookUp];
  findings.push(...(await ask("vm.description", (asked) => describe(hypervisor, vm, options, asked))));
  const { health } = hypervisor;
  if (health !== undefined) {
    const answers = await Promise.all([
      ask("vm.room", async (asked) => (await health.storages(vm.ref, { signal: asked })).map(judgeRoom)),
      ask("privileges", (asked) => checkRights(health, vm.ref, asked)),
      ask("ports", async (asked) => {
        const ports = await health.ports(vm.ref, { signal: asked });
        const found = await checkPorts(ports, options.usable, asked);
        return hypervisor.identity.kind === "xen" ? [...found, judgeNbdService(ports, options.usable)] : found;
      }),
    ]);
    findings.push(...answers.flat());
  }
  return about({ kind: "vm", name: vm.path }, findings);
}

async function describe(
  hypervisor: Hypervisor,
  { ref }: VmIdentity,
  { settings, paths, usable }: VmCheckOptions,
  signal: AbortSignal,
): Promise<Finding[]> {
  const { kind } = hypervisor.identity;
  const vm = await hypervisor.describeVm(ref, { signal });
  const findings = judgeVm({ vm, kind, settings, usable });
  if (hypervisor.snapshots === "none") return findings;
  try {
    const snapshots = await hypervisor.listSnapshots(ref, { signal });
    const live = new Set((await listSessions(paths)).flatMap(({ id, isLive }) => (isLive ? [id] : [])));
    const chainMax = hypervisor.health?.chainMax ?? CHAIN_MAX;
    return [...findings, ...judgeSnapshots({ vm, snapshots, chainMax, live, now: Date.now() })];
  } catch (error) {
    signal.throwIfAborted();
    return [...findings, failed("vm.snapshots", errorFacts(error))];
  }
}
