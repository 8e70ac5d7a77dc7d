import { createHash } from "node:crypto";
import { basename, join } from "node:path";
import { NotFoundError } from "../errors.js";
import writeFileAtomic from "write-file-atomic";
import { ChangeLog } from "./disk/change-log.js";
import { LabDisk } from "./disk/lab-disk.js";
import type { MachineSettings } from "./lab-config.js";
import type { MachineState, SnapshotState } from "./lab-state.js";
import { readVmFolder, type VmFolder } from "./vm-folder.js";

export interface SnapshotDisk {
  /** Descriptor path of the link that the snapshot froze. */
  frozen: string;
  readonly changeId: string | undefined;
}

export interface MachineSnapshot {
  readonly ref: string;
  readonly id: number;
  readonly createdAt: Date;
  readonly quiesced: boolean;
  readonly power: "on" | "off" | "suspended";
  name: string;
  description: string;
  /** By device key; a disk outside snapshots is absent. */
  readonly disks: ReadonlyMap<number, SnapshotDisk>;
}

/** A virtual machine of the lab: a folder of images, its place in the inventory and its run-time state. */
export class Machine {
  readonly ref: string;
  readonly datastore: string;
  readonly files: VmFolder;
  readonly disks: readonly LabDisk[];
  readonly settings: MachineSettings;
  /** Oldest first; each is the parent of the next. */
  snapshots: MachineSnapshot[];
  power: "on" | "off" | "suspended";
  changeTracking: boolean;
  consolidationNeeded: boolean;
  /** Goes up with every change of the configuration. */
  changeVersion = 1;
  modifiedAt = new Date();

  private constructor(
    datastore: string,
    files: VmFolder,
    settings: MachineSettings,
    state: MachineState,
    disks: readonly LabDisk[],
  ) {
    this.ref = state.ref;
    this.datastore = datastore;
    this.files = files;
    this.settings = settings;
    this.disks = disks;
    this.power = state.power;
    this.changeTracking = state.changeTracking;
    this.consolidationNeeded = state.consolidationNeeded;
    this.snapshots = state.snapshots
      .map((snapshot) => revive(snapshot, files.path))
      .filter((one) => this.#isWhole(one));
  }

  static async open(datastore: string, path: string, settings: MachineSettings, state: MachineState): Promise<Machine> {
    const files = await readVmFolder(path);
    if (files === undefined) throw new NotFoundError(`Cannot find a .vmx file in ${path}`);
    const disks: LabDisk[] = [];
    for (const slot of files.disks)
      disks.push(await LabDisk.open(slot, new ChangeLog(state.changes[String(slot.key)])));
    return new Machine(datastore, files, settings, state, disks);
  }

  get name(): string {
    return this.settings.name ?? this.files.displayName;
  }

  get folderName(): string {
    return basename(this.files.path);
  }

  get biosUuid(): string {
    return uuidOf(this.files.vmx.get("uuid.bios")) ?? derivedUuid(`bios ${this.datastore}/${this.folderName}`);
  }

  get instanceUuid(): string {
    return uuidOf(this.files.vmx.get("vc.uuid")) ?? derivedUuid(`instance ${this.datastore}/${this.folderName}`);
  }

  /** `[ds1] web01/web01.vmx` */
  datastorePath(fileName: string): string {
    return `[${this.datastore}] ${this.folderName}/${basename(fileName)}`;
  }

  disk(key: number): LabDisk {
    const disk = this.disks.find((candidate) => candidate.key === key);
    if (disk === undefined) throw new NotFoundError(`Cannot find disk ${key} of ${this.name}`);
    return disk;
  }

  snapshot(ref: string): MachineSnapshot | undefined {
    return this.snapshots.find((candidate) => candidate.ref === ref);
  }

  touch(): void {
    this.changeVersion++;
    this.modifiedAt = new Date();
  }

  /** The data files that a running guest holds open for writing: the newest link of every disk. */
  lockedFiles(): ReadonlySet<string> {
    if (this.power === "off") return new Set();
    return new Set(this.disks.map((disk) => disk.newest.link.files.extent).filter((path) => path !== undefined));
  }

  /** Writes the newest links into the .vmx, as a host does after every snapshot operation. */
  async saveVmx(): Promise<void> {
    for (const { slot, newest } of this.disks) {
      this.files.vmx.set(`${slot.bus}${slot.busNumber}:${slot.unit}.fileName`, basename(newest.link.files.descriptor));
    }
    await writeFileAtomic(join(this.files.path, this.files.vmxName), this.files.vmx.format());
  }

  state(): MachineState {
    const { ref, power, changeTracking, consolidationNeeded } = this;
    const snapshots = this.snapshots.map(({ disks, createdAt, ...snapshot }) => ({
      ...snapshot,
      createdAt: createdAt.toISOString(),
      disks: Object.fromEntries(
        [...disks].map(([key, { frozen, changeId }]) => [String(key), { frozen: basename(frozen), changeId }]),
      ),
    }));
    const changes = Object.fromEntries(this.disks.map((disk) => [String(disk.key), disk.changes.state()]));
    return { ref, power, changeTracking, consolidationNeeded, snapshots, changes };
  }

  async close(): Promise<void> {
    for (const disk of this.disks) await disk.close();
  }

  /** A snapshot whose links were removed behind the lab's back is not worth showing. */
  #isWhole(snapshot: MachineSnapshot): boolean {
    return [...snapshot.disks].every(([key, { frozen }]) =>
      this.disks.some((disk) => disk.key === key && disk.links.some(({ link }) => link.files.descriptor === frozen)),
    );
  }
}

function revive(state: SnapshotState, folder: string): MachineSnapshot {
  const disks = new Map(
    Object.entries(state.disks).map(([key, { frozen, changeId }]) => [
      Number(key),
      { frozen: join(folder, basename(frozen)), changeId },
    ]),
  );
  return { ...state, createdAt: new Date(state.createdAt), disks };
}

/** `56 4d 01 … -… ` of a .vmx as a UUID. */
function uuidOf(text: string | undefined): string | undefined {
  const hex = text?.replace(/[\s-]/g, "").toLowerCase() ?? "";
  return /^[0-9a-f]{32}$/.test(hex) ? dashed(hex) : undefined;
}

function derivedUuid(seed: string): string {
  return dashed(createHash("sha256").update(seed).digest("hex").slice(0, 32));
}

function dashed(hex: string): string {
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
