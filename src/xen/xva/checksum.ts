import xxhash from "xxhash-wasm";
import { HashThread } from "./hash-thread.js";

/** How chunks are hashed: every importer takes SHA-1; XXH64 is for those of XenServer 8 and XCP-ng 8.1 on. */
export const CHECKSUM_KINDS = ["sha1", "xxhash"] as const;
export type ChecksumKind = (typeof CHECKSUM_KINDS)[number];

export interface Checksum {
  /** The ending of a hash member's name. */
  readonly extension: ".checksum" | ".xxhash";
  /** Characters of a hash, which is ASCII. */
  readonly length: number;
  /** The data are free again when the promise settles. */
  readonly of: (data: Uint8Array) => Promise<string>;
}

/** One thread for all archives of the process. */
const THREAD = new HashThread();

/** Lower-case SHA-1. It takes as long as reading: data in shared memory are hashed while others are read. */
const SHA1: Checksum = {
  extension: ".checksum",
  length: 40,
  of: (data) => THREAD.sha1(data),
};

/** XXH64 with the seed 0, upper case. */
async function xxh64(): Promise<Checksum> {
  const hasher = await xxhash();
  return {
    extension: ".xxhash",
    length: 16,
    of: (data) => Promise.resolve(hasher.h64Raw(data).toString(16).toUpperCase().padStart(16, "0")),
  };
}

export async function checksum(kind: ChecksumKind): Promise<Checksum> {
  return kind === "sha1" ? SHA1 : await xxh64();
}

/** Which kind a hash member is of, by its name. */
export function checksumOf(name: string): ChecksumKind | undefined {
  if (name.endsWith(".checksum")) return "sha1";
  return name.endsWith(".xxhash") ? "xxhash" : undefined;
}
