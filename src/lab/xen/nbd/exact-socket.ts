import type { Socket } from "node:net";

/** A socket that is read in pieces of known length. */
export class ExactSocket {
  readonly socket: Socket;
  #wake: (() => void) | undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    for (const event of ["readable", "end", "close", "error"]) socket.on(event, this.#onEvent);
  }

  /** @returns undefined when the client leaves first */
  async take(length: number): Promise<Buffer | undefined> {
    if (length === 0) return Buffer.alloc(0);
    for (;;) {
      const bytes = this.socket.read(length) as Buffer | null;
      // At its end a stream gives what is left, however little that is.
      if (bytes !== null) return bytes.length === length ? bytes : undefined;
      if (this.socket.destroyed || this.socket.readableEnded) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Resolves when the kernel has the bytes or the client has gone. */
  write(bytes: Uint8Array): Promise<void> {
    if (this.socket.destroyed) return Promise.resolve();
    return new Promise((resolve) => {
      this.socket.write(bytes, () => {
        resolve();
      });
    });
  }

  /** Hands the socket to somebody else. @returns whether nothing was read ahead */
  release(): boolean {
    for (const event of ["readable", "end", "close", "error"]) this.socket.off(event, this.#onEvent);
    return this.socket.readableLength === 0;
  }

  readonly #onEvent = (): void => {
    this.#wake?.();
    this.#wake = undefined;
  };
}
