import { readTarHeader } from "./tar-header.js";

/** What a file is, by its first 512 bytes. */
export type ArchiveKind = "plain" | "gzip" | "zstd" | "other";

/**
 * As an importer finds out: a tar archive that begins with ova.xml is plain; `zstd` and `gzip` are whole archives packed by
 * these programs, which must be unpacked before any place in them can be read.
 */
export function identifyArchive(head: Uint8Array): ArchiveKind {
  const [a, b, c, d] = head;
  if (a === 0x28 && b === 0xb5 && c === 0x2f && d === 0xfd) return "zstd";
  if (a === 0x1f && b === 0x8b) return "gzip";
  try {
    return head.length >= 512 && readTarHeader(head.subarray(0, 512))?.name === "ova.xml" ? "plain" : "other";
  } catch {
    // No tar header: whatever it is, it is none of ours.
    return "other";
  }
}
