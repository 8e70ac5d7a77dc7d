/** A buffer for one load. Exactly one of `keep` and `discard` ends it. */
export interface Place {
  readonly bytes: Uint8Array;
  /** It is filled: whoever asks for `key` finds it from now on. `onWasted` hears when it goes without having been read. */
  keep(key: number, onWasted?: () => void): void;
  discard(): void;
}

/** A buffer divided among fragments of any blocks; it comes and goes as a whole. */
export interface FragmentSlab {
  readonly kind: "fragments";
  /** Negative, so that it is no block's key. */
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly keys: number[];
  readonly free: number[];
  loading: number;
}

export interface FragmentHooks {
  readonly acquire: () => Promise<Uint8Array>;
  /** Takes over a slab that is full: it may be evicted from now on, and must then be given to `forget`. */
  readonly settle: (slab: FragmentSlab) => void;
}

/**
 * Small pieces of blocks, for readers that jump about: a whole block for each 4 KiB would cost 256 times what they read.
 * Slabs are filled one after the other, so memory is never in pieces that nothing else fits into.
 */
export class Fragments {
  readonly fragmentBytes: number;
  readonly #hooks: FragmentHooks;
  readonly #found = new Map<number, { readonly bytes: Uint8Array; readonly slab: FragmentSlab }>();
  #filling: FragmentSlab | undefined;
  #opening: Promise<void> | undefined;
  #slabs = 0;

  constructor(fragmentBytes: number, hooks: FragmentHooks) {
    this.fragmentBytes = fragmentBytes;
    this.#hooks = hooks;
  }

  has(key: number): boolean {
    return this.#found.has(key);
  }

  find(key: number): { readonly bytes: Uint8Array; readonly slab: FragmentSlab } | undefined {
    return this.#found.get(key);
  }

  /** Waits for memory when there is none. */
  async reserve(): Promise<Place> {
    for (;;) {
      const slab = this.#filling;
      const index = slab?.free.pop();
      if (slab !== undefined && index !== undefined) return this.#place(slab, index);
      this.#opening ??= this.#open();
      await this.#opening;
    }
  }

  /** The slab was evicted. */
  forget(slab: FragmentSlab): void {
    for (const key of slab.keys) if (this.#found.get(key)?.slab === slab) this.#found.delete(key);
  }

  /** Drops the fragments that `isGone` names; their memory comes back with their slab. */
  drop(isGone: (key: number) => boolean): void {
    for (const key of [...this.#found.keys()].filter(isGone)) this.#found.delete(key);
  }

  /** Nothing may be loading. @returns the slab that was being filled */
  end(): Uint8Array | undefined {
    const slab = this.#filling;
    this.#filling = undefined;
    this.#found.clear();
    return slab?.bytes;
  }

  async #open(): Promise<void> {
    let bytes: Uint8Array;
    try {
      bytes = await this.#hooks.acquire();
    } catch (error) {
      this.#opening = undefined;
      throw error;
    }
    // Without a pause from here: whoever finds nothing being opened must find the new slab.
    const before = this.#filling;
    const count = Math.floor(bytes.length / this.fragmentBytes);
    // The last in the list is used first.
    const free = Array.from({ length: count }, (_, index) => count - 1 - index);
    this.#filling = { kind: "fragments", id: -++this.#slabs, bytes, keys: [], free, loading: 0 };
    this.#opening = undefined;
    // Loads that failed meanwhile have given places of it back, but nobody will fill it any more.
    if (before?.loading === 0) this.#hooks.settle(before);
  }

  #place(slab: FragmentSlab, index: number): Place {
    const bytes = slab.bytes.subarray(index * this.fragmentBytes, (index + 1) * this.fragmentBytes);
    slab.loading++;
    return {
      bytes,
      keep: (key) => {
        slab.keys.push(key);
        this.#found.set(key, { bytes, slab });
        this.#loaded(slab);
      },
      discard: () => {
        slab.free.push(index);
        this.#loaded(slab);
      },
    };
  }

  #loaded(slab: FragmentSlab): void {
    slab.loading--;
    if (slab.loading > 0 || (slab === this.#filling && slab.free.length > 0)) return;
    if (slab === this.#filling) this.#filling = undefined;
    this.#hooks.settle(slab);
  }
}
