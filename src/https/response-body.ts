import { HEAD_BYTES_MAX, InvalidAnswer, type ResponseHead } from "./response-head.js";

/** Takes a piece of a body, which is only valid during the call. */
type Emit = (piece: Uint8Array) => void;

/** How a body comes, and where it ends (RFC 9112 section 6). */
export interface ResponseBody {
  readonly isComplete: boolean;
  /** The end of the connection is the end of the body; any other body is incomplete then. */
  readonly endsWithConnection: boolean;
  /**
   * Takes what belongs to the body of `buffer` from `from` to `length`.
   * @returns where the rest begins
   * @throws InvalidAnswer
   */
  take(buffer: Uint8Array, from: number, length: number, emit: Emit): number;
}

export function responseBody(head: ResponseHead): ResponseBody {
  if (head.framing === "chunked") return new ChunkedBody();
  if (head.framing === "connection") return new SizedBody(Infinity);
  return new SizedBody(head.framing);
}

class SizedBody implements ResponseBody {
  readonly endsWithConnection: boolean;
  #bytesLeft: number;

  constructor(bytes: number) {
    this.#bytesLeft = bytes;
    this.endsWithConnection = bytes === Infinity;
  }

  get isComplete(): boolean {
    return this.#bytesLeft === 0;
  }

  take(buffer: Uint8Array, from: number, length: number, emit: Emit): number {
    const end = Math.min(length, from + this.#bytesLeft);
    this.#bytesLeft -= end - from;
    emit(buffer.subarray(from, end));
    return end;
  }
}

/** RFC 9112 section 7.1: a line with the size in hex, the bytes, an empty line; after size 0, trailers up to an empty line. */
class ChunkedBody implements ResponseBody {
  readonly endsWithConnection = false;
  isComplete = false;
  #bytesLeft = 0;
  #line = "";
  #expects: "size" | "bytes" | "end of bytes" | "trailer" = "size";
  #trailerBytes = 0;

  take(buffer: Uint8Array, from: number, length: number, emit: Emit): number {
    let at = from;
    while (at < length && !this.isComplete) {
      if (this.#expects === "bytes") {
        const end = Math.min(length, at + this.#bytesLeft);
        this.#bytesLeft -= end - at;
        emit(buffer.subarray(at, end));
        at = end;
        if (this.#bytesLeft === 0) this.#expects = "end of bytes";
      } else {
        this.#character(buffer[at] ?? 0);
        at++;
      }
    }
    return at;
  }

  #character(code: number): void {
    this.#line += String.fromCharCode(code);
    if (this.#line.length > HEAD_BYTES_MAX) throw new InvalidAnswer("a line of its body is endless");
    if (code !== 10) return;
    const line = this.#line;
    this.#line = "";
    if (!line.endsWith("\r\n")) throw new InvalidAnswer("a line of its body does not end as it should");
    this.#endOfLine(line.slice(0, -2));
  }

  #endOfLine(line: string): void {
    if (this.#expects === "size") {
      // Extensions after the size mean nothing to anybody.
      const [, size] = /^([0-9a-f]{1,12})[ \t]*(?:;.*)?$/i.exec(line) ?? [];
      if (size === undefined) throw new InvalidAnswer("the size of a chunk is no number");
      this.#bytesLeft = Number.parseInt(size, 16);
      this.#expects = this.#bytesLeft === 0 ? "trailer" : "bytes";
    } else if (this.#expects === "end of bytes") {
      if (line !== "") throw new InvalidAnswer("a chunk is longer than it says");
      this.#expects = "size";
    } else if (line === "") {
      this.isComplete = true;
    } else {
      this.#trailerBytes += line.length;
      if (this.#trailerBytes > HEAD_BYTES_MAX) throw new InvalidAnswer("its trailers are endless");
    }
  }
}
