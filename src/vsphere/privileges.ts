import { MissingCapabilityError } from "../errors.js";
import type { Right } from "../health.js";
import { childrenNamed, isTrue, textAt, toMoRef } from "./element.js";
import { isMissingMethod } from "./faults.js";
import type { PropertyCollector } from "./property-collector.js";
import { hasPrivilegeOnEntities } from "./requests.js";
import type { Session } from "./session.js";
import type { MoRef } from "./soap-message.js";

type Needed = Pick<Right, "name" | "on" | "need" | "purpose">;

const ALLOCATION = "ask which parts of the disks are allocated, and to read them through VDDK";
const FILES = "read disks and configuration files over https";
const FREEZE = "keep vCenter from moving the VM's disks while VDDK reads them";

/** What the client's calls need (vSphere Web Services API reference, "Required Privileges"); docs/OPERATIONS.md lists the same. */
export const NEEDED_PRIVILEGES: readonly Needed[] = [
  { name: "System.Read", on: "vm", need: "backup", purpose: "read the description of the VM" },
  { name: "VirtualMachine.State.CreateSnapshot", on: "vm", need: "backup", purpose: "create the snapshot" },
  { name: "VirtualMachine.State.RemoveSnapshot", on: "vm", need: "backup", purpose: "remove the snapshot again" },
  { name: "VirtualMachine.Provisioning.DiskRandomRead", on: "vm", need: "better", purpose: ALLOCATION },
  { name: "Datastore.Browse", on: "datastore", need: "backup", purpose: FILES },
  { name: "Datastore.FileManagement", on: "datastore", need: "backup", purpose: FILES },
  { name: "Datastore.Browse", on: "datacenter", need: "backup", purpose: FILES },
  { name: "Datastore.FileManagement", on: "datacenter", need: "backup", purpose: FILES },
  { name: "System.View", on: "root", need: "better", purpose: "find the way to VMs and datastores" },
  { name: "Global.DisableMethods", on: "root", need: "other", purpose: FREEZE },
  { name: "Global.EnableMethods", on: "root", need: "other", purpose: FREEZE },
];

/** An object that privileges are asked for on, as people know it. */
export interface PrivilegedObject {
  readonly on: Right["on"];
  readonly ref: MoRef;
  /** `datastore "ds1"` */
  readonly shown: string;
}

/**
 * Asks for all objects with one call (AuthorizationManager.HasPrivilegeOnEntities, vSphere API 5.5 and later).
 * @throws MissingCapabilityError where the server does not know the call, SoapFault
 */
export async function rightsOn(
  objects: readonly PrivilegedObject[],
  { session, properties }: { readonly session: Session; readonly properties: PropertyCollector },
  signal: AbortSignal,
): Promise<Right[]> {
  const { authorizationManager, sessionManager } = session.content;
  if (authorizationManager === undefined) throw cannotSay();
  const kinds = new Set(objects.map(({ on }) => on));
  const names = [...new Set(NEEDED_PRIVILEGES.filter(({ on }) => kinds.has(on)).map(({ name }) => name))];
  const { values } = await properties.ofObject(sessionManager, ["currentSession"], signal);
  const key = textAt(values.get("currentSession"), "key");
  if (key === undefined) throw cannotSay();
  const refs = objects.map(({ ref }) => ref);
  const request = hasPrivilegeOnEntities(authorizationManager, { entities: refs, session: key, privileges: names });
  const granted = new Set<string>();
  try {
    for (const entity of childrenNamed(await session.call(request, { signal }), "returnval")) {
      const { id } = toMoRef(entity.children.find(({ name }) => name === "entity"));
      for (const one of childrenNamed(entity, "privAvailability")) {
        if (isTrue(one.children.find(({ name }) => name === "isGranted")))
          granted.add(`${id} ${textAt(one, "privId") ?? ""}`);
      }
    }
  } catch (error) {
    if (isMissingMethod(error)) throw cannotSay(error);
    throw error;
  }
  return objects.flatMap(({ on, ref, shown }) =>
    NEEDED_PRIVILEGES.filter((needed) => needed.on === on).map((needed) => ({
      ...needed,
      object: shown,
      isGranted: granted.has(`${ref.id} ${needed.name}`),
      remedy: `Add ${needed.name} to a role of this account on ${shown}, or above it with "propagate to children"`,
    })),
  );
}

function cannotSay(cause?: unknown): MissingCapabilityError {
  return new MissingCapabilityError("The server does not tell which privileges an account has", {
    cause,
    hint: "ESXi hosts and old servers do not know the question; docs/OPERATIONS.md lists what is needed",
  });
}
