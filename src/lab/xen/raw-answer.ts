import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { RuleAction } from "../rules.js";
import { XapiFault } from "./fault.js";

/** Pause of a limited transfer between two pieces. */
const PACE_BYTES = 64 * 1024;

/** The answer of a data handler, written to the connection as it is: XAPI's own differ from any HTTP library's. */
export class RawAnswer {
  readonly #socket: Socket;
  readonly #actions: readonly RuleAction[];
  readonly #sent: (bytes: number) => void;
  #status = 0;
  #bytes = 0;

  /** @param sent told of every byte of the body */
  constructor(socket: Socket, actions: readonly RuleAction[], sent: (bytes: number) => void) {
    this.#socket = socket;
    this.#actions = actions;
    this.#sent = sent;
  }

  /** 0 before the answer has begun. */
  get status(): number {
    return this.#status;
  }

  /** Bytes of the body so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @param line such as `HTTP/1.0 200 OK` */
  async begin(line: string, headers: readonly (readonly [name: string, value: string])[]): Promise<void> {
    this.#status = Number(line.split(" ")[1]);
    await this.#send(`${[line, ...headers.map(([name, value]) => `${name}: ${value}`)].join("\r\n")}\r\n\r\n`);
  }

  /**
   * Part of the body; resolves when there is room for more.
   * @throws XapiFault CLIENT_ERROR when the client has gone; the fault that a rule wants in the middle of the body
   */
  async write(chunk: Uint8Array): Promise<void> {
    const failure = this.#actions.find((action) => action.kind === "fault" && action.where === "task");
    if (failure?.kind === "fault") throw new XapiFault(failure.name, ...failure.parameters);
    const cut = this.#actions.find((action) => action.kind === "cut");
    if (cut?.kind === "cut" && this.#bytes + chunk.length > cut.afterBytes) {
      await this.#body(chunk.subarray(0, cut.afterBytes - this.#bytes));
      // What was written has to leave first: a connection that is destroyed drops it.
      this.#socket.end();
      throw new XapiFault("VDI_IO_ERROR", "Device I/O error");
    }
    const rate = this.#actions.find((action) => action.kind === "bandwidth");
    if (rate?.kind !== "bandwidth") return this.#body(chunk);
    for (let at = 0; at < chunk.length; at += PACE_BYTES) {
      const piece = chunk.subarray(at, at + PACE_BYTES);
      await this.#body(piece);
      await sleep((piece.length / rate.bytesPerSecond) * 1000);
    }
  }

  /** Ends the body, which is delimited by the end of the connection. */
  end(): void {
    this.#socket.end();
  }

  async #body(chunk: Uint8Array): Promise<void> {
    this.#bytes += chunk.length;
    this.#sent(chunk.length);
    await this.#send(chunk);
  }

  #send(bytes: string | Uint8Array): Promise<void> {
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) return Promise.reject(gone());
    return new Promise((resolve, reject) => {
      const onClose = (): void => {
        reject(gone());
      };
      socket.once("close", onClose);
      socket.write(bytes, (error) => {
        socket.off("close", onClose);
        if (error === undefined || error === null) resolve();
        else reject(gone());
      });
    });
  }
}

function gone(): XapiFault {
  return new XapiFault("CLIENT_ERROR", "The connection was closed by the client");
}
