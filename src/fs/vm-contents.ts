import type { BlockSource } from "../block-source.js";
import type { ConfigFile, Moment, ServerIdentity, VmDescription } from "../hypervisor.js";
import type { ExtentMap } from "./block/extent-map.js";

export interface VmDisk {
  /** Of the disk's description. */
  readonly key: string;
  /** Stays the caller's: it disposes of it when the mount is gone. */
  readonly source: BlockSource;
  /** Undefined when allocation is unknown. */
  readonly extents: ExtentMap | undefined;
  readonly transport: string;
  /** Transports that were tried before, and why they could not be used. */
  readonly refused: readonly { readonly transport: string; readonly reason: string }[];
  readonly allocation: string;
}

/** The whole VM as one file, made of its disks: the .xva of a Xen VM. */
export interface VmArchive {
  readonly format: "xva";
  readonly name: string;
  /** Reads the disks; stays the caller's. */
  readonly source: BlockSource;
}

/** A VM as plain data and open disks: frozen by a snapshot, or as it lies there. */
export interface VmContents {
  readonly server: ServerIdentity;
  readonly vm: VmDescription;
  readonly snapshot: Moment;
  readonly consistency: "quiesced" | "crash" | "offline" | "inconsistent";
  readonly configFiles: readonly ConfigFile[];
  readonly archives: readonly VmArchive[];
  readonly disks: readonly VmDisk[];
}
