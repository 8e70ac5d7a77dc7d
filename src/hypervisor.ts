import type { BlockSource } from "./block-source.js";
import type { ServerHealth } from "./health.js";
import type { LocatorForm, PowerState } from "./locator.js";
import type { StorageRoom } from "./storage-room.js";
import type { Transport } from "./transports.js";
import type { Bytes } from "./units.js";

export interface CallOptions {
  readonly signal: AbortSignal;
}

export interface Progress {
  /** 0 to 100; absent while the server does not say. */
  readonly percent: number | undefined;
  /** What is going on, such as "Removing snapshot". */
  readonly what: string;
}

export interface TaskOptions extends CallOptions {
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

export interface ServerIdentity {
  readonly kind: "vsphere" | "xen" | "dir";
  /** `https://host:port` or `xen://host:port`, without path or credentials; `dir:///srv/vms` for a folder. */
  readonly url: string;
  /** Such as "VMware vCenter Server 8.0.2". */
  readonly product: string;
  readonly version: string;
  /** The server's own UUID, where it has one. */
  readonly instanceUuid: string | undefined;
}

export interface VmIdentity {
  /** The server's own id: a moref such as `vm-42`. */
  readonly ref: string;
  /** Display name, unescaped: may hold any character. */
  readonly name: string;
  /** Inventory path in escaped form: `/dc/folder/vm%2fname`. */
  readonly path: string;
  readonly instanceUuid: string | undefined;
  readonly biosUuid: string | undefined;
  readonly powerState: PowerState;
  /** Addresses that the guest reports; empty when it is off. */
  readonly addresses: readonly string[];
}

export interface InventoryEntry {
  readonly kind: "datacenter" | "folder" | "vapp" | "vm";
  readonly name: string;
  readonly path: string;
  /** Present for VMs. */
  readonly vm: VmIdentity | undefined;
}

/** Where a disk hangs: also its file name in a mount, since a user cannot rename it. */
export interface DiskNode {
  readonly bus: "scsi" | "sata" | "ide" | "nvme" | "xvd";
  readonly busNumber: number;
  readonly unit: number;
}

/** `scsi0-0`, `sata0-1`, `nvme0-0`, `ide0-0`; Xen: `xvda` … */
export function diskNodeName(node: DiskNode): string {
  if (node.bus === "xvd") return `xvd${xvdLetters(node.unit)}`;
  return `${node.bus}${node.busNumber}-${node.unit}`;
}

function xvdLetters(unit: number): string {
  const last = String.fromCharCode("a".charCodeAt(0) + (unit % 26));
  return unit < 26 ? last : xvdLetters(Math.floor(unit / 26) - 1) + last;
}

export interface DiskDescription {
  /** The server's key of the disk, as text; the same before and after a snapshot. */
  readonly key: string;
  /** As the server shows it: "Hard disk 1". */
  readonly label: string;
  readonly node: DiskNode;
  /** The controller's model: `ParaVirtualSCSIController` … */
  readonly controllerModel: string;
  readonly capacity: Bytes;
  /** The server's word for the backing: `VirtualDiskFlatVer2BackingInfo` … */
  readonly backing: string;
  /** `[datastore] dir/file.vmdk` of the newest link, or a device name. */
  readonly path: string;
  /** Parents of that link, youngest first; empty for a disk without delta. */
  readonly parents: readonly string[];
  /** `persistent`, `independent_persistent` … */
  readonly mode: string;
  readonly thin: boolean | undefined;
  readonly uuid: string | undefined;
  readonly changeId: string | undefined;
  /** Why the disk is not part of a snapshot and so not of a mount; undefined = included. */
  readonly excludedBecause: string | undefined;
  /** Why a disk that belongs to the backup cannot be read as it is now: `openDisk` will fail, and with it a mount. */
  readonly unreadableBecause?: string;
}

export interface VmDescription {
  readonly identity: VmIdentity;
  readonly hardware: {
    readonly version: string | undefined;
    readonly guestId: string | undefined;
    readonly guestName: string | undefined;
    readonly firmware: string | undefined;
    readonly cpus: number;
    readonly coresPerSocket: number | undefined;
    readonly memory: Bytes;
    readonly networks: readonly NetworkCard[];
  };
  readonly disks: readonly DiskDescription[];
  /** The configuration file on the datastore, such as `[ds1] web01/web01.vmx`. */
  readonly configPath: string | undefined;
  readonly isTemplate: boolean;
  readonly changeTracking: boolean;
  readonly toolsRunning: boolean;
  readonly consolidationNeeded: boolean;
  /** Reasons why a snapshot is bound to fail, in the server's words; empty = none known. */
  readonly snapshotObstacles: readonly string[];
  /** Why this server cannot ask the guest to flush its file systems, whatever runs in it; absent where it can. */
  readonly quiesceObstacle?: string;
  /** The host that it runs on, by an id of the server; absent when it is off or nobody knows. */
  readonly host?: string;
  /** Where the disks lie of which a snapshot is made; absent for a VM as a snapshot holds it, and where nobody knows. */
  readonly storages?: readonly StorageRoom[];
  /**
   * What shows that the VM runs or its disks are being written, in words. Only from a server without snapshots: there
   * it means that bytes change while they are read.
   */
  readonly runningSigns?: readonly string[];
}

export interface NetworkCard {
  readonly label: string;
  readonly model: string;
  readonly mac: string | undefined;
  readonly network: string | undefined;
}

export interface Snapshot {
  /** The server's own id: a moref such as `snapshot-33`. */
  readonly ref: string;
  readonly name: string;
  readonly description: string;
  readonly createdAt: Date;
  readonly quiesced: boolean;
  /** Depth in the VM's snapshot tree: 1 = no parent snapshot. */
  readonly depth: number;
  /**
   * True where name and description are two steps for the server, and the second has not happened: whoever was making it
   * has died in between, or is still at it.
   */
  readonly lacksDescription?: boolean;
}

/** What became of the delta files that no snapshot needs any more; "needed": they are still there. */
export type Consolidation = "unneeded" | "merged" | "needed";

export interface SnapshotSpec {
  readonly name: string;
  readonly description: string;
  /** Ask the guest to flush and freeze its file systems. */
  readonly quiesce: boolean;
  /** Keep the running guest's memory with its disks: it stands still meanwhile. Never together with `quiesce` or `offline`. */
  readonly memory?: boolean;
  /** Shut the guest down first, and start it again afterwards, also after a failure. Never together with the others. */
  readonly offline?: boolean;
}

export interface ConfigFile {
  /** A bare file name, safe to show: no separator, no control characters. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface OpenDiskOptions extends TaskOptions {
  /** "off": holes are not asked for. */
  readonly allocation?: "auto" | "off" | undefined;
  /** Undefined = the server's usual one. */
  readonly transport?: Transport | undefined;
  /** An absolute path: where bytes are kept that the server gives once and in order only. */
  readonly spoolDirectory?: string | undefined;
}

export interface OpenedDisk {
  readonly source: BlockSource;
  /** The transport that was chosen: `https` … */
  readonly transport: string;
  /** One line for the log and the catalog: what is known of allocation and from where. */
  readonly allocation: string;
  /** Transports that were tried before this one, and why they could not be used. */
  readonly refused?: readonly { readonly transport: string; readonly reason: string }[];
  /**
   * What of the disk was written since it was opened, in words; undefined = nothing. Only from a server without
   * snapshots: elsewhere nobody can.
   * @throws DiskIoError when it cannot be told
   */
  readonly writtenSince?: (options: CallOptions) => Promise<string | undefined>;
}

/** What a mount shows: a snapshot, or the disks as they lie there since a moment, where no snapshot could be made. */
export interface Moment {
  /** Undefined without a snapshot. */
  readonly ref: string | undefined;
  readonly name: string | undefined;
  readonly createdAt: Date;
}

/** What an import has left on a server, or has made there. */
export interface FoundImport {
  /** The server's id of the task that the import ran in. */
  readonly task: string;
  /** What the task says of itself; "" when the server has forgotten it. */
  readonly description: string;
  /** Of the task; undefined when the server has forgotten it. */
  readonly startedAt: Date | undefined;
  /** How the task stands. "failed": ended without a VM that is whole; "forgotten": the server no longer knows it. */
  readonly state: "working" | "failed" | "complete" | "forgotten";
  readonly vms: readonly { readonly ref: string; readonly name: string }[];
  /** How many. */
  readonly disks: number;
  /** Why it is somebody's by now, in words; undefined: nobody uses it. */
  readonly usedBecause: string | undefined;
}

/** Imports of a server that makes new VMs of archives; it keeps their tasks in what they make. */
export interface Imports {
  /**
   * What is there of imports by these tasks, and by tasks that say that vmmount made them; nothing of one that left
   * nothing.
   */
  find(tasks: readonly string[], options: CallOptions): Promise<FoundImport[]>;
  /** Removes what the import by this task has made, VMs and disks; nothing is success. */
  remove(task: string, options: TaskOptions): Promise<void>;
}

/**
 * A vCenter, ESXi host or Xen pool, logged in, or a folder of VMs. Every method translates the server's faults into VmmountError and logs
 * in again once when the session has expired. Disposing logs out. test/fixtures/contract/hypervisor.ts is the suite
 * that every implementation and every stand-in server passes.
 */
export interface Hypervisor extends AsyncDisposable {
  readonly identity: ServerIdentity;
  /**
   * "none": disks are read as they are. `createSnapshot` then fails with SnapshotError, no VM has a snapshot, and
   * settling and removing have nothing to do.
   */
  readonly snapshots: "supported" | "none";
  /** What it tells of itself; absent where there is no server, as for a folder. */
  readonly health?: ServerHealth;
  /** Absent where nothing is imported. */
  readonly imports?: Imports;

  /**
   * The cookie of the login, logged in anew when the server has ended it, for a library that talks to the same server. Absent where
   * there is none.
   * @throws VmmountError when the server does not answer, or refuses a new login
   */
  sessionCookie?(signal?: AbortSignal): Promise<string | undefined>;

  /**
   * One level of the inventory: `/` lists datacenters, `/dc` its folders and VMs.
   * @throws NotFoundError when nothing is there
   */
  browse(path: string, options: CallOptions): Promise<InventoryEntry[]>;

  /** Every VM that matches, sorted by path; empty when none does. */
  findVms(form: LocatorForm, options: CallOptions): Promise<VmIdentity[]>;

  /** The VM as it is now, or as it was at the snapshot. @throws NotFoundError */
  describeVm(vm: string, options: CallOptions & { readonly snapshot?: string | undefined }): Promise<VmDescription>;

  /**
   * @throws QuiesceError when only quiescing failed, SnapshotError when the server refuses the snapshot
   */
  createSnapshot(vm: string, spec: SnapshotSpec, options: TaskOptions): Promise<Snapshot>;

  /**
   * Waits until no creation of a snapshot of this VM is under way, whoever began it: one whose caller gave up or died
   * goes on, and only afterwards does a list without its snapshot mean that there is none. A VM that is gone is success.
   */
  settleSnapshots(vm: string, options: TaskOptions): Promise<void>;

  /** All snapshots of the VM, parents before children. @throws NotFoundError when the VM is gone */
  listSnapshots(vm: string, options: CallOptions): Promise<Snapshot[]>;

  /** Removes one snapshot, never its children, and waits until it is gone; an absent one is success. */
  removeSnapshot(snapshot: string, options: TaskOptions): Promise<void>;

  /**
   * Snapshots, and what a half removal left of them, that no VM lists, as when it is gone: `removeSnapshot` removes them.
   * None where a snapshot goes with its VM.
   */
  listOrphans(options: CallOptions): Promise<Snapshot[]>;

  /**
   * Merges the VM's delta files that no snapshot needs any more, where the server says that there are some: begun once and
   * waited for. A VM that is gone needs nothing. Always "unneeded" on Xen, whose storage merges by itself, and where there
   * are no snapshots.
   * @throws BusyError when something else works on the VM or holds its files
   */
  consolidate(vm: string, options: TaskOptions): Promise<Consolidation>;

  /**
   * The disk's bytes as frozen by the snapshot; without one, where the server makes none.
   * @throws MissingCapabilityError for a format that cannot be read
   */
  openDisk(
    at: { readonly vm: string; readonly snapshot: string | undefined; readonly disk: DiskDescription },
    options: OpenDiskOptions,
  ): Promise<OpenedDisk>;

  /** The VM's configuration files: .vmx and .nvram as they are now; ova.xml of the snapshot, on Xen. */
  readConfig(vm: string, options: CallOptions & { readonly snapshot?: string | undefined }): Promise<ConfigFile[]>;
}
