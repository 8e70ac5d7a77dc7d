/** The stream ended before the bytes that were asked for. */
export class EndOfStream extends Error {
  constructor(missingBytes: number) {
    super(`the stream ends ${missingBytes} bytes too early`);
    this.name = "EndOfStream";
  }
}

/** Reads a stream front to back in pieces of the reader's choice. */
export class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #rest: Buffer = Buffer.alloc(0);
  #receivedBytes = 0;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Of the source, whether they were asked for or not. */
  get receivedBytes(): number {
    return this.#receivedBytes;
  }

  /** @throws EndOfStream */
  async take(length: number): Promise<Buffer> {
    const taken = await this.takeUpTo(length);
    if (taken.length < length) throw new EndOfStream(length - taken.length);
    return taken;
  }

  /** Fewer bytes only at the end of the stream. */
  async takeUpTo(length: number): Promise<Buffer> {
    if (length === 0) return Buffer.alloc(0);
    const parts: Buffer[] = [];
    let missing = length;
    while (missing > 0) {
      if (this.#rest.length === 0 && !(await this.#more())) break;
      const part = this.#rest.subarray(0, missing);
      this.#rest = this.#rest.subarray(part.length);
      missing -= part.length;
      parts.push(part);
    }
    return parts.length === 1 && parts[0] !== undefined ? parts[0] : Buffer.concat(parts);
  }

  /** What the next `takeUpTo` will give, without taking it. */
  async peek(length: number): Promise<Buffer> {
    const head = await this.takeUpTo(length);
    this.#rest = Buffer.concat([head, this.#rest]);
    return head;
  }

  /** @throws EndOfStream */
  async skip(length: number): Promise<void> {
    let missing = length;
    while (missing > 0) {
      if (this.#rest.length === 0 && !(await this.#more())) throw new EndOfStream(missing);
      const part = Math.min(missing, this.#rest.length);
      this.#rest = this.#rest.subarray(part);
      missing -= part;
    }
  }

  /** Everything that is left, for a reader of its own. */
  async *remaining(): AsyncGenerator<Uint8Array> {
    do {
      const part = this.#rest;
      this.#rest = Buffer.alloc(0);
      if (part.length > 0) yield part;
    } while (await this.#more());
  }

  async #more(): Promise<boolean> {
    const next: IteratorResult<Uint8Array, unknown> = await this.#source.next();
    if (next.done === true) return false;
    const { buffer, byteOffset, byteLength } = next.value;
    this.#rest = Buffer.from(buffer, byteOffset, byteLength);
    this.#receivedBytes += byteLength;
    return true;
  }
}
