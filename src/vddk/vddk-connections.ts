import type { ConnectionParams } from "./connection-params.js";
import type { Pointer, Vddk } from "./library.js";

/** Where a disk is opened. */
export interface ConnectionWish {
  readonly mode: string;
  readonly snapshot: string | undefined;
  readonly access?: "read-write";
}

/** A connection of the library's, for as long as disks use it. */
export interface VddkConnection {
  readonly pointer: Pointer;
  readonly key: string;
  users: number;
}

/**
 * One connection for each transport mode, snapshot and access, made when the first disk needs it and ended when its last disk leaves: a
 * line that fails every minute leaves none behind.
 */
export class VddkConnections {
  readonly #vddk: Vddk;
  #params: ConnectionParams;
  /** Those that the next disk may use. */
  readonly #current = new Map<string, VddkConnection>();

  constructor(vddk: Vddk, params: ConnectionParams) {
    this.#vddk = vddk;
    this.#params = params;
  }

  /** Of the login that the next connection uses. */
  get turn(): number {
    return this.#params.turn;
  }

  /** From now on; connections that there are stay until their last disk leaves. */
  logInWith(params: ConnectionParams): void {
    this.#params = params;
    this.#current.clear();
  }

  /** To be released once. @throws VmmountError for the library's errors */
  use(wish: ConnectionWish): VddkConnection {
    const key = `${wish.mode} ${wish.snapshot ?? ""} ${wish.access ?? ""}`;
    const connection = this.#current.get(key) ?? this.#connect(wish, key);
    connection.users++;
    return connection;
  }

  /** By a disk that is closed. */
  release(connection: VddkConnection): void {
    connection.users--;
    if (connection.users > 0) return;
    this.supersede(connection);
    this.#vddk.call("Disconnect", connection.pointer);
  }

  /** It, or its login, may be lost: the next disk makes another one. */
  supersede(connection: VddkConnection): void {
    if (this.#current.get(connection.key) === connection) this.#current.delete(connection.key);
  }

  #connect({ mode, snapshot, access }: ConnectionWish, key: string): VddkConnection {
    const out: [Pointer] = [null];
    // With it, every disk of the connection is read-only, whatever Open says.
    const readOnly = access === "read-write" ? 0 : 1;
    const result = this.#vddk.call("ConnectEx", this.#params.pointer, readOnly, snapshot ?? null, mode, out);
    this.#vddk.check(`Cannot connect over ${mode}`, result);
    const connection = { pointer: out[0], key, users: 0 };
    this.#current.set(key, connection);
    return connection;
  }
}
