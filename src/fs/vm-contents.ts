import type { BlockSource } from "../block-source.js";
import type { ConfigFile, ServerIdentity, Snapshot, VmDescription } from "../hypervisor.js";
import type { ExtentMap } from "./block/extent-map.js";

export interface VmDisk {
  /** Of the disk's description. */
  readonly key: string;
  /** Stays the caller's: it disposes of it when the mount is gone. */
  readonly source: BlockSource;
  /** Undefined when allocation is unknown. */
  readonly extents: ExtentMap | undefined;
  readonly transport: string;
  readonly allocation: string;
}

/** A VM frozen by a snapshot, as plain data and open disks. */
export interface VmContents {
  readonly server: ServerIdentity;
  readonly vm: VmDescription;
  readonly snapshot: Snapshot;
  readonly consistency: "quiesced" | "crash" | "offline";
  readonly configFiles: readonly ConfigFile[];
  readonly disks: readonly VmDisk[];
}
