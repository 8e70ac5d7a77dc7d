import type { Hypervisor, VmDescription } from "../hypervisor.js";
import type { VmPlace } from "./daemon-protocol.js";
import type { MountContext } from "./mount-steps.js";
import { guardSnapshot } from "./snapshot-guard.js";

/** After a wait like this what was seen of datastores before it counts no more. */
const STALE_MS = 60_000;

export function placeOf({ host, storages = [] }: VmDescription): VmPlace {
  return { host, storages: storages.map(({ name }) => name) };
}

/** The last look before a snapshot, and the wait for its turn where several VMs share a server, a host or a datastore. */
export async function readyToFreeze(vm: VmDescription, hypervisor: Hypervisor, context: MountContext): Promise<void> {
  const { request, logger, signal, awaitTurn } = context;
  const look = (at: VmDescription): Promise<void> =>
    guardSnapshot(at, { hypervisor, settings: request.settings, logger, signal });
  await look(vm);
  if (awaitTurn === undefined) return;
  const began = performance.now();
  await awaitTurn(placeOf(vm));
  if (performance.now() - began > STALE_MS) await look(await hypervisor.describeVm(vm.identity.ref, { signal }));
}
