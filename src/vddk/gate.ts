/**
 * Lets work go on side by side until something must be alone: the library opens and closes on one thread, and wants nothing else
 * from us meanwhile. Who is alone goes before those who come later.
 */
export class Gate {
  #inside = 0;
  #alone: Promise<void> = Promise.resolve();
  #onEmpty: (() => void) | undefined;
  #waitingAlone = 0;

  /** Runs with others. */
  async together<T>(work: () => Promise<T>): Promise<T> {
    while (this.#waitingAlone > 0) await this.#alone;
    this.#inside++;
    try {
      return await work();
    } finally {
      this.#inside--;
      if (this.#inside === 0) this.#onEmpty?.();
    }
  }

  /** Runs when nothing else does, in the order of the calls. */
  async alone<T>(work: () => Promise<T> | T): Promise<T> {
    const before = this.#alone;
    this.#waitingAlone++;
    let release!: () => void;
    this.#alone = new Promise((resolve) => {
      release = resolve;
    });
    try {
      await before;
      if (this.#inside > 0) {
        await new Promise<void>((resolve) => {
          this.#onEmpty = resolve;
        });
        this.#onEmpty = undefined;
      }
      return await work();
    } finally {
      this.#waitingAlone--;
      release();
    }
  }
}
