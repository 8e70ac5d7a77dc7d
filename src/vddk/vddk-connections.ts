import type { ConnectionParams } from "./connection-params.js";
import type { Pointer, Vddk } from "./library.js";

/** Where a disk is opened. */
export interface ConnectionWish {
  readonly mode: string;
  readonly snapshot: string | undefined;
}

/** One connection of the library's for each transport mode and snapshot, made when the first disk needs it. */
export class VddkConnections implements Disposable {
  readonly #vddk: Vddk;
  readonly #params: ConnectionParams;
  readonly #open = new Map<string, Pointer>();
  /** Superseded ones, which other disks may still use: closed at the end. */
  readonly #old: Pointer[] = [];

  constructor(vddk: Vddk, params: ConnectionParams) {
    this.#vddk = vddk;
    this.#params = params;
  }

  /** @throws VmmountError for the library's errors */
  over({ mode, snapshot }: ConnectionWish): Pointer {
    const key = keyOf({ mode, snapshot });
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    const out: [Pointer] = [null];
    const readOnly = 1;
    const result = this.#vddk.call("ConnectEx", this.#params.pointer, readOnly, snapshot ?? null, mode, out);
    this.#vddk.check(`Cannot connect over ${mode}`, result);
    this.#open.set(key, out[0]);
    return out[0];
  }

  /** The next disk that wants it logs in anew. */
  renew(wish: ConnectionWish): void {
    const key = keyOf(wish);
    const known = this.#open.get(key);
    if (known === undefined) return;
    this.#open.delete(key);
    this.#old.push(known);
  }

  /** Only when every disk is closed. */
  [Symbol.dispose](): void {
    for (const connection of [...this.#old, ...this.#open.values()]) this.#vddk.call("Disconnect", connection);
    this.#old.length = 0;
    this.#open.clear();
  }
}

function keyOf({ mode, snapshot }: ConnectionWish): string {
  return `${mode} ${snapshot ?? ""}`;
}
