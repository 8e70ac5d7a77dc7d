/** A default cache is one piece; Node 20 refuses buffers beyond 4 GiB. */
const PIECE_BYTES_MAX = 256 * 1024 * 1024;

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
  /**
   * Slabs lie in a few large pieces: the kernel gives memory only to what has been written to, but V8 would answer hundreds
   * of allocations with a dozen collections of its whole heap (12 % of the processor while the first GiB was read).
   */
  readonly #pieces: Buffer[] = [];
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

  /** Gives the memory back to the process, if no slab is in use. */
  drop(): void {
    if (this.inUse > 0) return;
    this.#count = 0;
    this.#free.length = 0;
    this.#pieces.length = 0;
  }

  #allocate(): Uint8Array | undefined {
    if (this.#count >= this.countMax) return undefined;
    const perPiece = Math.max(1, Math.floor(PIECE_BYTES_MAX / this.slabBytes));
    const index = Math.floor(this.#count / perPiece);
    const slabs = Math.min(perPiece, this.countMax - index * perPiece);
    // Not filled with zeros, which would take the memory at once; every byte handed out has been filled by a load.
    const piece = (this.#pieces[index] ??= Buffer.allocUnsafeSlow(slabs * this.slabBytes));
    const start = (this.#count - index * perPiece) * this.slabBytes;
    this.#count++;
    return piece.subarray(start, start + this.slabBytes);
  }
}
