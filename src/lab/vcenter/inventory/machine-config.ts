import type { Machine, MachineSnapshot } from "../../machine.js";
import { escapeName } from "./names.js";
import { data, type Data } from "../values.js";
import { devices, type DevicePlaces } from "./devices.js";

/** Guest ids of .vmx files in the words of the API. */
const GUESTS: Readonly<Record<string, readonly [id: string, name: string]>> = {
  "debian12-64": ["debian12_64Guest", "Debian GNU/Linux 12 (64-bit)"],
  "windows2019srvnext-64": ["windows2019srvNext_64Guest", "Microsoft Windows Server 2022 (64-bit)"],
};

export function guestOf(machine: Machine): readonly [id: string, name: string] {
  const word = machine.files.vmx.get("guestOS")?.toLowerCase() ?? "";
  return GUESTS[word] ?? ["otherGuest64", "Other (64-bit)"];
}

/** `VirtualMachine.config`, or the `config` of a snapshot. */
export function configInfo(machine: Machine, places: DevicePlaces, at?: MachineSnapshot): Data {
  const { vmx } = machine.files;
  const [guestId, guestFullName] = guestOf(machine);
  return data("VirtualMachineConfigInfo", {
    changeVersion: `${machine.modifiedAt.toISOString()}-${machine.changeVersion}`,
    modified: machine.modifiedAt,
    name: escapeName(machine.name),
    guestFullName,
    version: `vmx-${(vmx.get("virtualHW.version") ?? "19").padStart(2, "0")}`,
    uuid: machine.biosUuid,
    instanceUuid: machine.instanceUuid,
    locationId: `564d${machine.biosUuid.slice(4)}`,
    template: machine.settings.template,
    guestId,
    alternateGuestName: "",
    annotation: vmx.get("annotation") ?? "",
    files: filesOf(machine),
    ...habits(machine),
    hardware: data("VirtualHardware", {
      numCPU: vmx.integer("numvcpus") ?? 1,
      numCoresPerSocket: vmx.integer("cpuid.coresPerSocket") ?? 1,
      memoryMB: vmx.integer("memSize") ?? 1024,
      virtualICH7MPresent: false,
      virtualSMCPresent: false,
      device: devices(machine, places, at),
    }),
    memoryHotAddEnabled: false,
    cpuHotAddEnabled: false,
    extraConfig: extraConfig(machine),
    datastoreUrl: [
      data("VirtualMachineConfigInfoDatastoreUrlPair", {
        name: machine.datastore,
        url: `/vmfs/volumes/${machine.datastore}`,
      }),
    ],
    swapPlacement: "inherit",
    vAssertsEnabled: false,
    changeTrackingEnabled: machine.changeTracking,
    firmware: vmx.get("firmware") ?? "bios",
    maxMksConnections: -1,
    guestAutoLockEnabled: true,
    memoryReservationLockedToMax: false,
    nestedHVEnabled: false,
    vPMCEnabled: false,
    messageBusTunnelEnabled: false,
  });
}

/** What a client may show but nothing of a backup depends on. */
function habits({ files: { vmx } }: Machine): Readonly<Record<string, Data>> {
  return {
    tools: data("ToolsConfigInfo", { toolsVersion: 12352, toolsUpgradePolicy: "manual", syncTimeWithHost: false }),
    flags: data("VirtualMachineFlagInfo", {
      enableLogging: true,
      monitorType: "release",
      snapshotDisabled: false,
      snapshotLocked: false,
      diskUuidEnabled: vmx.flag("disk.EnableUUID"),
    }),
    defaultPowerOps: data("VirtualMachineDefaultPowerOpInfo", {
      powerOffType: "soft",
      suspendType: "hard",
      resetType: "soft",
      defaultPowerOffType: "soft",
      standbyAction: "checkpoint",
    }),
    bootOptions: data("VirtualMachineBootOptions", {
      bootDelay: 0,
      enterBIOSSetup: false,
      efiSecureBootEnabled: vmx.flag("uefi.secureBoot.enabled"),
      bootRetryEnabled: false,
      bootRetryDelay: 10000,
    }),
  };
}

function filesOf(machine: Machine): Data {
  const folder = `[${machine.datastore}] ${machine.folderName}/`;
  return data("VirtualMachineFileInfo", {
    vmPathName: machine.datastorePath(machine.files.vmxName),
    snapshotDirectory: folder,
    suspendDirectory: folder,
    logDirectory: folder,
  });
}

/** Keys of the .vmx that no field of the API carries. */
const EXTRA_KEYS = ["nvram", "disk.EnableUUID", "tools.guest.desktop.autolock", "svga.present", "HDCS.agent"];

function extraConfig(machine: Machine): Data[] {
  return EXTRA_KEYS.flatMap((key) => {
    const value = machine.files.vmx.get(key);
    return value === undefined ? [] : [data("OptionValue", { key, value })];
  });
}
