import type { VmDescription } from "../hypervisor.js";
import { unescapeInventoryName } from "../locator.js";
import type { StorageRoom } from "../storage-room.js";
import { childrenNamed, toInteger, toMoRef } from "./element.js";
import type { ObjectProperties, PropertyCollector } from "./property-collector.js";

/** The datastores that a VM uses in any way, with what is free on each. @throws SoapFault */
export async function datastoresOf(
  { values }: ObjectProperties,
  properties: PropertyCollector,
  signal: AbortSignal,
): Promise<StorageRoom[]> {
  const refs = childrenNamed(values.get("datastore"), "ManagedObjectReference").map(toMoRef);
  const query = { type: "Datastore", paths: ["summary.name", "summary.freeSpace"] };
  const found = await properties.ofObjects(refs, [query], signal);
  return found.flatMap((datastore) => {
    const name = datastore.values.get("summary.name")?.text;
    const free = datastore.values.get("summary.freeSpace");
    // An account that may not read the datastore sees neither.
    if (name === undefined) return [];
    // Delta files grow with what the guest writes: nothing is set aside.
    return [{ name: unescapeInventoryName(name), free: free === undefined ? undefined : toInteger(free), setAside: 0 }];
  });
}

/** Of these the ones with a disk of which a snapshot is made: where an ISO image lies does not count. */
export function storagesOf({ disks }: Pick<VmDescription, "disks">, datastores: readonly StorageRoom[]): StorageRoom[] {
  const used = new Set(
    disks
      .filter(({ excludedBecause }) => excludedBecause === undefined)
      .map(({ path }) => unescapeInventoryName(/^\[([^\]]*)\]/.exec(path)?.[1] ?? "")),
  );
  return datastores.filter(({ name }) => used.has(name));
}
