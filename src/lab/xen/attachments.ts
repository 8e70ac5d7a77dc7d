import { randomUUID } from "node:crypto";
import { setMaxListeners } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import type { Database } from "./database/database.js";
import { XapiFault } from "./fault.js";
import type { PoolHost } from "./pool-host.js";

export interface Attachment {
  /** Reference of the VBD of the control domain. */
  readonly vbd: string;
  /** Unplugs: at once for the caller, after the pool's `detachMs` for everybody else. */
  release(): void;
}

/** Disks that a host has plugged into its own control domain, to read or write them for an export, an import or NBD. */
export class Attachments {
  readonly #database: Database;
  readonly #detachMs: () => number;
  readonly #closing = new AbortController();
  #next = 0;

  constructor(database: Database, detachMs: () => number) {
    this.#database = database;
    this.#detachMs = detachMs;
    // One for each disk that is still being unplugged.
    setMaxListeners(0, this.#closing.signal);
  }

  /** @throws XapiFault HANDLE_INVALID; SR_HAS_NO_PBDS when this host does not see the SR; VDI_IN_USE by a writer */
  plug(vdi: string, host: PoolHost, mode: "RO" | "RW"): Attachment {
    const database = this.#database;
    const sr = database.text("VDI", vdi, "SR");
    if (!this.sees(host, sr)) throw new XapiFault("SR_HAS_NO_PBDS", sr);
    if (this.holders(vdi).some((vbd) => mode === "RW" || database.text("VBD", vbd, "mode") === "RW")) {
      throw new XapiFault("VDI_IN_USE", vdi, "attach");
    }
    const number = this.#next++;
    const vbd = database.create("VBD", {
      uuid: randomUUID(),
      VM: host.controlDomain,
      VDI: vdi,
      device: `xvd${letters(number)}`,
      userdevice: String(number),
      mode,
      currently_attached: true,
    });
    let isReleased = false;
    const release = (): void => {
      if (isReleased) return;
      isReleased = true;
      void this.#detach(vbd);
    };
    return { vbd, release };
  }

  /** VBDs by which a disk is plugged now. */
  holders(vdi: string): string[] {
    return this.#database
      .where("VBD", "VDI", vdi)
      .filter((vbd) => this.#database.row("VBD", vbd)["currently_attached"] === true);
  }

  /** Whether a host has an SR plugged. */
  sees(host: PoolHost, sr: string): boolean {
    return this.#database
      .rows("PBD")
      .some(([, row]) => row["SR"] === sr && row["host"] === host.ref && row["currently_attached"] === true);
  }

  close(): void {
    this.#closing.abort();
  }

  async #detach(vbd: string): Promise<void> {
    const wait = this.#detachMs();
    // The pool's end cuts the wait short.
    if (wait > 0) await sleep(wait, undefined, { signal: this.#closing.signal }).catch(() => undefined);
    if (this.#database.has("VBD", vbd)) this.#database.delete("VBD", vbd);
  }
}

/** a, b … z, aa … */
function letters(number: number): string {
  const last = String.fromCharCode(97 + (number % 26));
  return number < 26 ? last : letters(Math.floor(number / 26) - 1) + last;
}
