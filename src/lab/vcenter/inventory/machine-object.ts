import type { Machine } from "../../machine.js";
import { managedObject, type ManagedObject } from "../objects.js";
import type { Tasks } from "../tasks.js";
import { data, moref, type Value } from "../values.js";
import type { DevicePlaces } from "./devices.js";
import { configInfo } from "./machine-config.js";
import { committedBytes, layoutEx } from "./machine-layout.js";
import { capability, guest, runtime, snapshotInfo, summary } from "./machine-summary.js";
import type { InventoryTree, Node } from "./tree.js";

function devicePlaces(machine: Machine, tree: InventoryTree): DevicePlaces {
  const datastore = tree.datastore(machine.datastore) ?? tree.datastoreFolder;
  return { datastore: datastore.ref, network: tree.network.ref };
}

/** What every inventory object has. */
export function entityProperties(node: Node, tasks: Tasks): Record<string, () => Value | undefined> {
  return {
    name: () => node.name,
    parent: () => node.parent?.ref,
    overallStatus: () => "green",
    configStatus: () => "green",
    effectiveRole: () => [-1],
    alarmActionsEnabled: () => true,
    disabledMethod: () => [],
    recentTask: () => tasks.recent(node.ref.ref),
    declaredAlarmState: () => [],
    triggeredAlarmState: () => [],
    tag: () => [],
    value: () => [],
    customValue: () => [],
  };
}

/** Methods that are not allowed in a power state, as `disabledMethod` lists them. */
const DISABLED = {
  on: ["PowerOnVM_Task", "ExportVm", "UnregisterVM", "Destroy_Task"],
  off: ["PowerOffVM_Task", "SuspendVM_Task", "ShutdownGuest"],
  suspended: ["SuspendVM_Task", "ShutdownGuest"],
} as const;

export function machineObject(node: Node, machine: Machine, tree: InventoryTree, tasks: Tasks): ManagedObject {
  const places = devicePlaces(machine, tree);
  const host = tree.host.ref;
  return managedObject(node.ref, {
    ...entityProperties(node, tasks),
    disabledMethod: () => DISABLED[machine.power],
    capability: () => capability(),
    config: () => configInfo(machine, places),
    layoutEx: () => layoutEx(machine),
    storage: () => {
      const committed = committedBytes(machine);
      return data("VirtualMachineStorageInfo", {
        perDatastoreUsage: [
          data("VirtualMachineUsageOnDatastore", {
            datastore: places.datastore,
            committed,
            uncommitted: 0,
            unshared: committed,
          }),
        ],
        timestamp: machine.modifiedAt,
      });
    },
    environmentBrowser: () => moref("EnvironmentBrowser", `envbrowser-${tree.host.ref.ref}`),
    resourcePool: () => (machine.settings.template ? undefined : tree.pool.ref),
    runtime: () => runtime(machine, host),
    guest: () => guest(machine),
    summary: () => summary(machine, node.ref, host),
    datastore: () => [places.datastore],
    network: () => [tree.network.ref],
    snapshot: () => snapshotInfo(machine, node.ref),
    rootSnapshot: () => machine.snapshots.slice(0, 1).map((one) => moref("VirtualMachineSnapshot", one.ref)),
    guestHeartbeatStatus: () => (machine.power === "on" && machine.settings.toolsRunning ? "green" : "gray"),
  });
}

/** @returns undefined when no machine has such a snapshot */
export function snapshotObject(ref: string, tree: InventoryTree): ManagedObject | undefined {
  for (const { ref: vm, machine } of tree.machines) {
    const at = machine?.snapshots.findIndex((snapshot) => snapshot.ref === ref) ?? -1;
    const snapshot = machine?.snapshots[at];
    if (machine === undefined || snapshot === undefined) continue;
    return managedObject(moref("VirtualMachineSnapshot", ref), {
      config: () => configInfo(machine, devicePlaces(machine, tree), snapshot),
      childSnapshot: () =>
        machine.snapshots.slice(at + 1, at + 2).map((one) => moref("VirtualMachineSnapshot", one.ref)),
      vm: () => vm,
    });
  }
  return undefined;
}
