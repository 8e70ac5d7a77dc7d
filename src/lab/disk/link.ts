import { readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { IntegrityError } from "../../errors.js";
import { parseDescriptor, type VmdkDescriptor } from "../../image/vmdk/descriptor.js";
import type { Range } from "../ranges.js";

export interface LinkFiles {
  /** Absolute path of the text descriptor: it identifies the link. */
  readonly descriptor: string;
  /** Absolute path of the file with the data, which a running VM locks. */
  readonly extent: string | undefined;
}

/** One file of a disk's chain. The base stands first; each later link holds what was written after a snapshot. */
export interface DiskLink extends AsyncDisposable {
  /** `opaque`: the lab serves the files and lists them, but holds no bytes of the guest (raw device mappings …). */
  readonly kind: "flat" | "delta" | "opaque";
  readonly files: LinkFiles;
  /** Copies what this link holds over `into`; what it does not hold stays. Offset and length are whole sectors. */
  overlay(into: Uint8Array, at: number): Promise<void>;
  write(bytes: Uint8Array, at: number): Promise<void>;
  /** The ranges that this link holds. */
  allocated(): Promise<Range[]>;
}

/** A link of an open chain. */
export interface OpenLink {
  readonly link: DiskLink;
  readonly descriptor: VmdkDescriptor;
}

export interface ReadDescriptor {
  readonly path: string;
  readonly descriptor: VmdkDescriptor;
}

/** Most links of a chain: vSphere stops at 32 snapshots. A longer one is a loop. */
const LINKS_MAX = 33;
/** Largest descriptor read: real ones have a few hundred bytes. */
const DESCRIPTOR_BYTES_MAX = 64 * 1024;

/** @throws IntegrityError when the file is no VMDK descriptor */
export async function readDescriptor(path: string): Promise<ReadDescriptor> {
  const bytes = await readFile(path);
  if (bytes.length > DESCRIPTOR_BYTES_MAX) {
    throw new IntegrityError(`Cannot use ${path} as VMDK descriptor: it has ${bytes.length} bytes`);
  }
  return { path, descriptor: parseDescriptor(bytes.toString("utf8")) };
}

/**
 * The descriptors of a chain, base first, beginning at its youngest link.
 * @throws IntegrityError for a loop, or a parent outside the machine's folder
 */
export async function readChain(youngest: string): Promise<ReadDescriptor[]> {
  const chain: ReadDescriptor[] = [];
  for (let path: string | undefined = youngest; path !== undefined;) {
    if (chain.length === LINKS_MAX)
      throw new IntegrityError(`Cannot use ${youngest}: its chain is longer than 33 links`);
    const link = await readDescriptor(path);
    chain.unshift(link);
    const hint: string | undefined = link.descriptor.parentFileNameHint;
    if (hint !== undefined && hint !== basename(hint)) {
      throw new IntegrityError(`Cannot use ${path}: its parent "${hint}" lies outside the machine's folder`);
    }
    path = hint === undefined ? undefined : join(dirname(path), hint);
  }
  return chain;
}

/** Where the data of a one-extent link lies. */
export function extentPath(link: ReadDescriptor): string | undefined {
  const [extent] = link.descriptor.extents;
  return extent?.name === undefined ? undefined : join(dirname(link.path), extent.name);
}
