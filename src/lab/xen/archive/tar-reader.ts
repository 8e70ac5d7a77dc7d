import type { ByteReader } from "./byte-reader.js";
import { padded, parseTarHeader, TAR_BLOCK_BYTES, type TarMember } from "./tar-header.js";

/** Largest record of a PAX header or long name: a path, some times over. */
const EXTENSION_BYTES_MAX = 64 * 1024;

/** Reads the headers of a tar archive one after the other; what is between them is the caller's to read. */
export class TarReader {
  readonly #bytes: ByteReader;

  constructor(bytes: ByteReader) {
    this.#bytes = bytes;
  }

  /**
   * The next member, whatever stands before it: one block of zeros is passed over, two are the end.
   * @returns undefined at the end
   * @throws RangeError for a block that is no header, EndOfStream
   */
  async next(): Promise<TarMember | undefined> {
    let longName: string | undefined;
    let zeroBlocks = 0;
    for (;;) {
      const member = parseTarHeader(await this.#bytes.take(TAR_BLOCK_BYTES));
      if (member === undefined) {
        zeroBlocks++;
        if (zeroBlocks === 2) return undefined;
        continue;
      }
      zeroBlocks = 0;
      switch (member.type) {
        case "L":
          longName = (await this.#extension(member)).replace(/\0.*$/s, "");
          break;
        case "x":
          longName = paxPath(await this.#extension(member)) ?? longName;
          break;
        default:
          return longName === undefined ? member : { ...member, name: longName };
      }
    }
  }

  /** The data of a member that was just returned, without the padding behind it. */
  async data({ sizeBytes }: TarMember): Promise<Buffer> {
    const data = await this.#bytes.take(padded(sizeBytes));
    return data.subarray(0, sizeBytes);
  }

  async #extension(member: TarMember): Promise<string> {
    if (member.sizeBytes > EXTENSION_BYTES_MAX) throw new RangeError("an extended header of the archive is too large");
    return (await this.data(member)).toString("utf8");
  }
}

/** Of records such as "30 mtime=1350244992.023960108\n" (POSIX.1-2017, pax, "extended header"). */
function paxPath(records: string): string | undefined {
  const match = /^\d+ path=(.*)$/m.exec(records);
  return match?.[1];
}
