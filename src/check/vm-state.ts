import { diskNodeName, type DiskDescription, type VmDescription } from "../hypervisor.js";
import type { Settings } from "../settings.js";
import type { Transport } from "../transports.js";
import { fail, type Finding, ok, skip, warn } from "./finding.js";

export interface VmView {
  readonly vm: VmDescription;
  readonly kind: "vsphere" | "xen" | "dir";
  readonly settings: Pick<Settings, "snapshot.quiesce">;
  /** The transports that a mount would try from here. */
  readonly usable: readonly Transport[];
}

/** What the description of a VM says about a mount of it. */
export function judgeVm(view: VmView): Finding[] {
  const { vm } = view;
  return [
    judgePower(view),
    judgeQuiescing(view),
    judgeTracking(view),
    ...vm.disks.map((disk) => judgeDisk(disk, view)),
    ...judgeObstacles(view),
    vm.consolidationNeeded
      ? warn("vm.consolidation", "The VM's disks need consolidation", "Start it in the vSphere Client")
      : ok("vm.consolidation", "No consolidation is pending"),
  ];
}

function judgePower({ vm, kind }: VmView): Finding {
  const id = "vm.power";
  const signs = vm.runningSigns ?? [];
  if (signs.length > 0) {
    return warn(
      id,
      `The VM looks as if it runs: ${signs.join("; ")}`,
      "Shut it down: its disks change while they are read",
    );
  }
  if (kind === "dir") return ok(id, "The VM is off, as far as its files show");
  return ok(id, `The VM is ${vm.identity.powerState}`);
}

function judgeQuiescing({ vm, kind, settings }: VmView): Finding {
  const id = "vm.quiesce";
  const policy = settings["snapshot.quiesce"];
  if (policy === "off") return skip(id, "The guest is not asked to flush its file systems: snapshot.quiesce is off");
  if (kind === "dir") return skip(id, "A folder has no guest that could be asked to flush its file systems");
  if (vm.identity.powerState === "off") return ok(id, "There is nothing to quiesce: the VM is off");
  const why =
    vm.quiesceObstacle ??
    (vm.identity.powerState === "suspended" ? "the VM is suspended" : undefined) ??
    (vm.toolsRunning ? undefined : "the guest tools are not running");
  if (why === undefined) return ok(id, "The guest tools are running, and can be asked to flush file systems");
  const text = `The guest cannot be quiesced: ${why}`;
  const hint = "The snapshot will be crash-consistent, like a disk after a power cut";
  return policy === "require"
    ? fail(id, "quiesce", text, "Set snapshot.quiesce to auto, or mend it")
    : warn(id, text, hint);
}

function judgeTracking({ vm, kind }: VmView): Finding {
  const id = "vm.change-tracking";
  if (kind !== "vsphere") return skip(id, "Holes are found without changed block tracking here");
  if (vm.changeTracking) return ok(id, "Changed block tracking is on, so holes of disks are known");
  return warn(
    id,
    "Changed block tracking is off, so it is not known which parts of the disks are allocated: every byte is read",
    "Switch it on while the VM has no snapshot",
  );
}

function judgeDisk(disk: DiskDescription, { kind, usable }: VmView): Finding {
  const node = diskNodeName(disk.node);
  const id = `vm.disk.${node}`;
  const shown = `${disk.label} (${node})`;
  if (disk.excludedBecause !== undefined)
    return warn(id, `${shown} will not be in the backup: ${disk.excludedBecause}`);
  if (disk.unreadableBecause !== undefined)
    return fail(id, "unavailable", `${shown} cannot be read: ${disk.unreadableBecause}`);
  // Over https only flat extents can be read, and a delta is none.
  if (kind === "vsphere" && disk.parents.length > 0 && usable.every((one) => one === "https")) {
    return fail(
      id,
      "unavailable",
      `${shown} cannot be read over https: it depends on an older snapshot`,
      "Remove the older snapshots, or install VDDK",
    );
  }
  return ok(id, `${shown} will be in the backup (${disk.mode})`);
}

function judgeObstacles({ vm, kind }: VmView): Finding[] {
  const id = "vm.snapshot";
  if (kind === "dir") return [skip(id, "No snapshot is made of a VM in a folder")];
  if (vm.snapshotObstacles.length === 0) return [ok(id, "Nothing is known that would keep a snapshot from being made")];
  return vm.snapshotObstacles.map((why) => fail(id, "snapshot", `A snapshot will fail: ${why}`));
}
