import { ConfigError } from "./errors.js";

export interface ConfigMistake {
  /** A sentence without a final full stop: what cannot be used, where it stands, why. */
  readonly message: string;
  readonly hint?: string | undefined;
}

/** A file that is no configuration at all would fill the screen. */
const SHOWN_MAX = 20;

/** Collects what is wrong, so that a person corrects it all at once. */
export class ConfigMistakes {
  readonly #found: ConfigMistake[] = [];

  add(...mistakes: readonly ConfigMistake[]): void {
    this.#found.push(...mistakes);
  }

  /** @throws ConfigError that tells every mistake in one sentence */
  refuse(): void {
    const [first, ...others] = this.#found;
    if (first === undefined) return;
    if (others.length === 0) throw new ConfigError(first.message, { hint: first.hint });
    const shown = this.#found
      .slice(0, SHOWN_MAX)
      .map(({ message, hint }, index) => `(${index + 1}) ${message}${hint === undefined ? "" : ` (${hint})`}`);
    if (this.#found.length > SHOWN_MAX) shown.push(`and ${this.#found.length - SHOWN_MAX} more`);
    throw new ConfigError(
      `Cannot use the configuration, which has ${this.#found.length} mistakes: ${shown.join("; ")}`,
      {
        hint: "Correct them all; nothing was done",
      },
    );
  }
}
