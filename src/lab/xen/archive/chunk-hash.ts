import { createHash } from "node:crypto";
import xxhash from "xxhash-wasm";

/** Extension of the members that hold the hash of a chunk: SHA-1 up to XenServer 8.0, XXH64 from 8.1 on. */
export const HASH_KINDS = ["checksum", "xxhash"] as const;
export type HashKind = (typeof HASH_KINDS)[number];

/** Bytes of a hash as text. */
export const HASH_BYTES: Readonly<Record<HashKind, number>> = { checksum: 40, xxhash: 16 };

type Hash = (data: Uint8Array) => string;

/** The hashes of chunks, as text without a newline: SHA-1 in lower case, XXH64 (seed 0) in upper case. */
export async function chunkHashes(): Promise<Readonly<Record<HashKind, Hash>>> {
  const hasher = await xxhash();
  return {
    checksum: (data) => createHash("sha1").update(data).digest("hex"),
    xxhash: (data) => hasher.h64Raw(data).toString(16).toUpperCase().padStart(HASH_BYTES.xxhash, "0"),
  };
}
