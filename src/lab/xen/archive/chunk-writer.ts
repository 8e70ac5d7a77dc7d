import { MIB } from "../../../units.js";
import { type HashKind, chunkHashes } from "./chunk-hash.js";
import { isZero, type ReadableDisk } from "./disk-bytes.js";
import { padded, tarHeader } from "./tar-header.js";

/** Bytes of the disk in one chunk; the last chunk of a disk has what is left. */
export const CHUNK_BYTES = MIB;

/** How one version of xapi writes the chunks of disks. */
export interface ChunkStyle {
  readonly hash: HashKind;
  /** Of the headers. */
  readonly mode: number;
  /**
   * After so many chunks of zeros in a row an empty chunk goes out, which real hosts do after 5 seconds of silence; undefined:
   * never.
   */
  readonly keepAliveChunks: number | undefined;
  /**
   * Whether the chunk at this offset is written although it may be zero: newer hosts write what the image has allocated, and
   * look at no data. Undefined: chunks of zeros are left out.
   */
  readonly isAllocated: ((at: number, length: number) => boolean) | undefined;
}

/**
 * The members of one disk in an XVA: data and hash in turn, as tar bytes. The first and the last chunk are always there; the
 * number in a name counts chunks and keep-alives, so it is no offset.
 * @param directory the id of the disk in the archive
 */
export async function* diskChunks(disk: ReadableDisk, directory: string, style: ChunkStyle): AsyncGenerator<Buffer> {
  const hash = (await chunkHashes())[style.hash];
  const member = (name: string, data: Buffer): Buffer[] => {
    const digest = Buffer.from(hash(data), "latin1");
    return [...tarMember(name, data, style.mode), ...tarMember(`${name}.${style.hash}`, digest, style.mode)];
  };
  let number = 0;
  let silentChunks = 0;
  for (let at = 0; at < disk.sizeBytes; number++) {
    const name = `${directory}/${String(number).padStart(8, "0")}`;
    const length = Math.min(CHUNK_BYTES, disk.sizeBytes - at);
    const isNeeded = at === 0 || at + length === disk.sizeBytes;
    if (!isNeeded && silentChunks === style.keepAliveChunks) {
      yield* member(name, Buffer.alloc(0));
      silentChunks = 0;
      continue;
    }
    const data = await disk.read(at, length);
    if (isNeeded || (style.isAllocated?.(at, length) ?? !isZero(data))) {
      yield* member(name, data);
      silentChunks = 0;
    } else {
      silentChunks++;
    }
    at += length;
  }
}

/** Header, data and the zeros behind it. */
export function tarMember(name: string, data: Buffer, mode: number, mtimeSeconds = 0): Buffer[] {
  const header = tarHeader({ name, sizeBytes: data.length, mode, mtimeSeconds });
  return [header, data, Buffer.alloc(padded(data.length) - data.length)].filter((part) => part.length > 0);
}
