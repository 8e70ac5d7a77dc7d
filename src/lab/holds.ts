/** Requests that rules hold back: each waits until it is let go, or its client goes away. */
export class Holds {
  readonly #held = new Set<() => void>();
  readonly #waiting = new Set<() => void>();

  get count(): number {
    return this.#held.size;
  }

  /** Holds a request. @param signal aborted when its client has gone */
  async hold(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const end = (): void => {
        signal.removeEventListener("abort", end);
        this.#held.delete(end);
        resolve();
      };
      this.#held.add(end);
      signal.addEventListener("abort", end, { once: true });
      if (signal.aborted) end();
      else for (const tell of [...this.#waiting]) tell();
    });
  }

  /** Resolves when a request is held, which may be at once; never when `signal` is aborted before. */
  async someone(signal: AbortSignal): Promise<void> {
    if (this.#held.size > 0) return;
    await new Promise<void>((resolve) => {
      const tell = (): void => {
        this.#waiting.delete(tell);
        resolve();
      };
      this.#waiting.add(tell);
      signal.addEventListener("abort", () => this.#waiting.delete(tell), { once: true });
    });
  }

  /** Lets every request go on that is held now. @returns how many */
  letGo(): number {
    const held = [...this.#held];
    for (const end of held) end();
    return held.length;
  }
}
