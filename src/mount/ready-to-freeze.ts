import type { Hypervisor, VmDescription } from "../hypervisor.js";
import { askAgain } from "../server-retry.js";
import type { VmPlace } from "./daemon-protocol.js";
import { askingOf, type MountContext } from "./mount-steps.js";
import { guardSnapshot } from "./snapshot-guard.js";

/** After a wait like this what was seen of datastores before it counts no more. */
const STALE_MS = 60_000;

export function placeOf({ host, storages = [] }: VmDescription): VmPlace {
  return { host, storages: storages.map(({ name }) => name) };
}

/** The last look before a snapshot, and the wait for its turn where several VMs share a server, a host or a datastore. */
export async function readyToFreeze(vm: VmDescription, hypervisor: Hypervisor, context: MountContext): Promise<void> {
  const { signal, awaitTurn } = context;
  const asking = askingOf(context);
  const look = (at: VmDescription): Promise<void> => guardSnapshot(at, { hypervisor, ...asking });
  await look(vm);
  if (awaitTurn === undefined) return;
  const began = performance.now();
  await awaitTurn(placeOf(vm));
  if (performance.now() - began <= STALE_MS) return;
  await look(await askAgain("Looking at the VM", () => hypervisor.describeVm(vm.identity.ref, { signal }), asking));
}
