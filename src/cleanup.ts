/**
 * Undo steps, run last in, first out. Node 20 has no AsyncDisposableStack; this is the part of it that we need.
 *
 * ```ts
 * await using cleanup = new CleanupStack();
 * cleanup.add("remove the snapshot", () => remove());
 * ...
 * cleanup.keep(); // success: nothing is undone
 * ```
 */
export class CleanupStack implements AsyncDisposable {
  readonly #steps: { readonly what: string; readonly run: () => Promise<void> | void }[] = [];

  add(what: string, run: () => Promise<void> | void): void {
    this.#steps.push({ what, run });
  }

  /** Registers a resource and returns it. */
  use<T extends AsyncDisposable>(what: string, resource: T): T {
    this.add(what, async () => {
      await resource[Symbol.asyncDispose]();
    });
    return resource;
  }

  /** Forgets every step: what was made stays. */
  keep(): void {
    this.#steps.length = 0;
  }

  /** Moves the steps into a new stack: the caller becomes the owner. */
  move(): CleanupStack {
    const moved = new CleanupStack();
    for (const step of this.#steps) moved.add(step.what, step.run);
    this.keep();
    return moved;
  }

  /**
   * Runs every step even when some fail.
   * @throws the only failure, or an AggregateError that names each failed step
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const failures: Error[] = [];
    const messages: string[] = [];
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step.run();
      } catch (error) {
        failures.push(error instanceof Error ? error : new Error(`Cannot ${step.what}: ${String(error)}`));
        messages.push(`Cannot ${step.what}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    const [first, ...others] = failures;
    if (first !== undefined && others.length === 0) throw first;
    if (first !== undefined) {
      throw new AggregateError(failures, messages.join("; "));
    }
  }
}
