/**
 * Buffers of one size, never more than `countMax`: the memory of a cache. Who needs one takes a free buffer, or a new one,
 * or what `reclaim` gives up, or waits in line, first come first served.
 */
export class Slabs {
  readonly slabBytes: number;
  readonly countMax: number;
  readonly #reclaim: () => Uint8Array | undefined;
  readonly #free: Uint8Array[] = [];
  readonly #line: ((slab: Uint8Array) => void)[] = [];
  #count = 0;

  /** @param reclaim gives up a buffer that holds nothing indispensable; undefined when there is none now */
  constructor(slabBytes: number, countMax: number, reclaim: () => Uint8Array | undefined) {
    this.slabBytes = slabBytes;
    this.countMax = countMax;
    this.#reclaim = reclaim;
  }

  /** Buffers handed out and not given back. */
  get inUse(): number {
    return this.#count - this.#free.length;
  }

  /** With whatever bytes it held before. */
  async acquire(): Promise<Uint8Array> {
    const slab = this.#free.pop() ?? this.#allocate() ?? this.#reclaim();
    return slab ?? (await new Promise((resolve) => this.#line.push(resolve)));
  }

  release(slab: Uint8Array): void {
    this.#free.push(slab);
    this.serveLine();
  }

  /** To be called when `reclaim` may have something again. */
  serveLine(): void {
    const next = this.#line.shift();
    if (next === undefined) return;
    const slab = this.#free.pop() ?? this.#reclaim();
    if (slab === undefined) this.#line.unshift(next);
    else next(slab);
  }

  /** Gives free buffers back to the process. */
  dropFree(): void {
    this.#count -= this.#free.length;
    this.#free.length = 0;
  }

  #allocate(): Uint8Array | undefined {
    if (this.#count >= this.countMax) return undefined;
    this.#count++;
    // Not from Node's pool, which would keep 8 KiB slabs alive; every byte handed out has been filled by a load.
    return Buffer.allocUnsafeSlow(this.slabBytes);
  }
}
