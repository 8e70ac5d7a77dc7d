import type { Machine } from "../../machine.js";
import { dataWithDefaults } from "../required.js";
import { data, moref, type Data, type Moref } from "../values.js";
import { guestOf } from "./machine-config.js";
import { committedBytes } from "./machine-layout.js";
import { escapeName } from "./names.js";

const POWER_WORDS = { on: "poweredOn", off: "poweredOff", suspended: "suspended" } as const;

export function powerWord(power: Machine["power"]): string {
  return POWER_WORDS[power];
}

function toolsRun(machine: Machine): boolean {
  return machine.power === "on" && machine.settings.toolsRunning;
}

export function capability(): Data {
  return dataWithDefaults("VirtualMachineCapability", {
    snapshotOperationsSupported: true,
    multipleSnapshotsSupported: true,
    snapshotConfigSupported: true,
    poweredOffSnapshotsSupported: true,
    memorySnapshotsSupported: true,
    quiescedSnapshotsSupported: true,
    changeTrackingSupported: true,
    diskSharesSupported: true,
    bootOptionsSupported: true,
    toolsSyncTimeSupported: true,
    featureRequirementSupported: true,
    seSparseDiskSupported: true,
  });
}

export function runtime(machine: Machine, host: Moref): Data {
  return dataWithDefaults("VirtualMachineRuntimeInfo", {
    host,
    connectionState: "connected",
    powerState: powerWord(machine.power),
    faultToleranceState: "notConfigured",
    recordReplayState: "inactive",
    consolidationNeeded: machine.consolidationNeeded,
    ...(machine.power === "on" ? { bootTime: machine.modifiedAt, maxCpuUsage: 2000, maxMemoryUsage: 1024 } : {}),
  });
}

/** `VirtualMachine.guest`: what VMware Tools report, so nothing of it is there while they do not run. */
export function guest(machine: Machine): Data {
  const running = toolsRun(machine);
  const [guestId, guestFullName] = guestOf(machine);
  const { ip, hostName } = machine.settings;
  const nics = machine.files.networks.map((slot) =>
    data("GuestNicInfo", {
      network: slot.network,
      ipAddress: ip === undefined ? [] : [ip],
      macAddress: slot.mac,
      connected: true,
      deviceConfigId: slot.key,
    }),
  );
  return data("GuestInfo", {
    toolsStatus: running ? "toolsOk" : "toolsNotRunning",
    toolsVersionStatus: "guestToolsUnmanaged",
    toolsVersionStatus2: "guestToolsUnmanaged",
    toolsRunningStatus: running ? "guestToolsRunning" : "guestToolsNotRunning",
    toolsVersion: "12352",
    guestState: running ? "running" : "notRunning",
    guestOperationsReady: running,
    ...(running ? { guestId, guestFamily: "linuxGuest", guestFullName, hostName, ipAddress: ip, net: nics } : {}),
  });
}

export function summary(machine: Machine, vm: Moref, host: Moref): Data {
  const [guestId, guestFullName] = guestOf(machine);
  const running = toolsRun(machine);
  const committed = committedBytes(machine);
  const capacity = machine.disks.reduce((sum, disk) => sum + disk.capacity, 0);
  return data("VirtualMachineSummary", {
    vm,
    runtime: runtime(machine, host),
    guest: data("VirtualMachineGuestSummary", {
      toolsStatus: running ? "toolsOk" : "toolsNotRunning",
      toolsRunningStatus: running ? "guestToolsRunning" : "guestToolsNotRunning",
      ...(running
        ? { guestId, guestFullName, hostName: machine.settings.hostName, ipAddress: machine.settings.ip }
        : {}),
    }),
    config: data("VirtualMachineConfigSummary", {
      name: escapeName(machine.name),
      template: machine.settings.template,
      vmPathName: machine.datastorePath(machine.files.vmxName),
      memorySizeMB: machine.files.vmx.integer("memSize") ?? 1024,
      numCpu: machine.files.vmx.integer("numvcpus") ?? 1,
      numEthernetCards: machine.files.networks.length,
      numVirtualDisks: machine.disks.length,
      uuid: machine.biosUuid,
      instanceUuid: machine.instanceUuid,
      guestId,
      guestFullName,
      annotation: machine.files.vmx.get("annotation") ?? "",
    }),
    storage: data("VirtualMachineStorageSummary", {
      committed,
      uncommitted: Math.max(0, capacity - committed),
      unshared: committed,
      timestamp: machine.modifiedAt,
    }),
    quickStats: data("VirtualMachineQuickStats", { guestHeartbeatStatus: running ? "green" : "gray" }),
    overallStatus: "green",
  });
}

/** `VirtualMachine.snapshot`; absent when there is none. */
export function snapshotInfo(machine: Machine, vm: Moref): Data | undefined {
  let tree: Data | undefined;
  for (const snapshot of [...machine.snapshots].reverse()) {
    tree = data("VirtualMachineSnapshotTree", {
      snapshot: moref("VirtualMachineSnapshot", snapshot.ref),
      vm,
      name: snapshot.name,
      description: snapshot.description,
      id: snapshot.id,
      createTime: snapshot.createdAt,
      state: powerWord(snapshot.power),
      quiesced: snapshot.quiesced,
      childSnapshotList: tree === undefined ? [] : [tree],
      replaySupported: false,
    });
  }
  const current = machine.snapshots.at(-1);
  if (tree === undefined || current === undefined) return undefined;
  return data("VirtualMachineSnapshotInfo", {
    currentSnapshot: moref("VirtualMachineSnapshot", current.ref),
    rootSnapshotList: [tree],
  });
}
