import { importError } from "./import-failure.js";
import { ByteReader, EndOfStream } from "./byte-reader.js";
import { decompressed } from "./compression.js";
import { OVA_NAME } from "./ova-document.js";
import { parseTarHeader, TAR_BLOCK_BYTES } from "./tar-header.js";
import { TarReader } from "./tar-reader.js";
import { XapiFault } from "../fault.js";

const ZSTD_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
/** A large VM with many snapshots has some hundred KiB. */
const OVA_BYTES_MAX = 64 * 1024 * 1024;

export interface OpenArchive {
  /** Behind the first member. */
  readonly bytes: ByteReader;
  readonly tar: TarReader;
  /** The first member. */
  readonly ova: string;
}

/**
 * Finds out from the first 512 bytes how an archive is compressed: a tar header with the right name is none, then comes the
 * magic of zstd, and everything else is taken for gzip.
 * @param knowsZstd hosts before 8.1 take it for gzip, too
 * @throws XapiFault, EndOfStream
 */
export async function openArchive(source: AsyncIterable<Uint8Array>, knowsZstd: boolean): Promise<OpenArchive> {
  let bytes = new ByteReader(source);
  const head = await bytes.peek(TAR_BLOCK_BYTES);
  if (head.length < TAR_BLOCK_BYTES) throw new EndOfStream(TAR_BLOCK_BYTES - head.length);
  if (!isOva(head)) {
    const isZstd = knowsZstd && head.subarray(0, ZSTD_MAGIC.length).equals(ZSTD_MAGIC);
    bytes = new ByteReader(decompressed(bytes.remaining(), isZstd ? "zstd" : "gzip"));
  }
  const tar = new TarReader(bytes);
  const member = await tar.next();
  if (member?.name !== OVA_NAME) {
    throw new XapiFault("IMPORT_ERROR_UNEXPECTED_FILE", OVA_NAME, member?.name ?? "");
  }
  if (member.sizeBytes > OVA_BYTES_MAX) throw importError("Out_of_memory");
  return { bytes, tar, ova: (await tar.data(member)).toString("utf8") };
}

function isOva(head: Buffer): boolean {
  try {
    return parseTarHeader(head)?.name === OVA_NAME;
  } catch {
    // No tar header at all: compressed, or garbage.
    return false;
  }
}
