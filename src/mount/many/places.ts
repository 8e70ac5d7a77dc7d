import type { VmPlace } from "../daemon-protocol.js";

/** How many VMs may be worked on at once, altogether and of each place. */
export interface PlaceLimits {
  readonly total: number;
  readonly server: number;
  readonly host: number;
  readonly datastore: number;
}

/** Where a VM is; hosts and datastores of two servers are never the same. */
export interface ServerPlace extends VmPlace {
  readonly server: string;
}

interface Waiter {
  readonly keys: readonly (readonly [key: string, limit: number])[];
  readonly begin: () => void;
}

/**
 * Counts who is where. Whoever waits longest goes first, unless his place is full: he does not hold up others whose
 * places are not.
 */
export class Places {
  readonly #limits: PlaceLimits;
  readonly #taken = new Map<string, number>();
  readonly #waiting = new Set<Waiter>();

  constructor(limits: PlaceLimits) {
    this.#limits = limits;
  }

  /**
   * Waits until there is room for one more everywhere at once.
   * @returns gives the room back; calling it again does nothing
   * @throws the reason of `signal`
   */
  async acquire({ server, host, storages }: ServerPlace, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const { total, server: ofServer, host: ofHost, datastore } = this.#limits;
    const keys: (readonly [string, number])[] = [
      ["all", total],
      [`server ${server}`, ofServer],
      ...(host === undefined ? [] : [[`host ${server} ${host}`, ofHost] as const]),
      ...storages.map((name) => [`storage ${server} ${name}`, datastore] as const),
    ];
    await new Promise<void>((resolve, reject) => {
      const onAbort = (): void => {
        this.#waiting.delete(waiter);
        reject(signal.reason as Error);
      };
      const begin = (): void => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      };
      const waiter: Waiter = { keys, begin };
      this.#waiting.add(waiter);
      signal.addEventListener("abort", onAbort, { once: true });
      this.#admit();
    });
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      for (const [key] of keys) this.#taken.set(key, (this.#taken.get(key) ?? 0) - 1);
      this.#admit();
    };
  }

  #admit(): void {
    for (const waiter of this.#waiting) {
      if (waiter.keys.some(([key, limit]) => (this.#taken.get(key) ?? 0) >= limit)) continue;
      for (const [key] of waiter.keys) this.#taken.set(key, (this.#taken.get(key) ?? 0) + 1);
      this.#waiting.delete(waiter);
      waiter.begin();
    }
  }
}
