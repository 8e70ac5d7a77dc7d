import { ConfigError } from "../errors.js";

/** Largest configuration file read: real ones have a few hundred lines. */
export const VMX_BYTES_MAX = 1024 * 1024;

/**
 * A `.vmx` file: `key = "value"` lines in which a character may stand as `|XX`. Keys have no case. Comments, order and
 * unknown keys survive a rewrite.
 */
export class VmxFile {
  readonly #lines: string[];

  private constructor(lines: string[]) {
    this.#lines = lines;
  }

  static parse(text: string): VmxFile {
    return new VmxFile(text.replaceAll("\r\n", "\n").split("\n"));
  }

  get(key: string): string | undefined {
    const line = this.#lines.find((candidate) => keyOf(candidate) === key.toLowerCase());
    return line === undefined ? undefined : valueOf(line);
  }

  flag(key: string): boolean {
    return this.get(key)?.toLowerCase() === "true";
  }

  /** @throws ConfigError when the value is no non-negative integer */
  integer(key: string): number | undefined {
    const text = this.get(key);
    if (text === undefined) return undefined;
    if (!/^\d{1,9}$/.test(text)) throw new ConfigError(`Cannot use ${key} = "${text}" of a .vmx file: it is no number`);
    return Number(text);
  }

  /** Keys in lower case, in the order of the file. */
  keys(): string[] {
    return this.#lines.map(keyOf).filter((key) => key !== undefined);
  }

  set(key: string, value: string): void {
    const line = `${key} = "${escapeValue(value)}"`;
    const at = this.#lines.findIndex((candidate) => keyOf(candidate) === key.toLowerCase());
    if (at >= 0) this.#lines[at] = line;
    else if (this.#lines.at(-1) === "") this.#lines.splice(-1, 0, line);
    else this.#lines.push(line);
  }

  format(): string {
    return `${this.#lines.join("\n").replace(/\n+$/, "")}\n`;
  }
}

const LINE = /^\s*([\w.:-]+)\s*=\s*(?:"(.*)"|(\S*))\s*$/;

function keyOf(line: string): string | undefined {
  return line.trimStart().startsWith("#") ? undefined : LINE.exec(line)?.[1]?.toLowerCase();
}

function valueOf(line: string): string {
  const match = LINE.exec(line);
  return (match?.[2] ?? match?.[3] ?? "").replace(/\|([0-9a-f]{2})/gi, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

/** A quote would end the value and a bar begin an escape; both stand as `|XX`, and so do line ends. */
function escapeValue(value: string): string {
  return value.replace(
    /["|\u0000-\u001f]/g,
    (char) => `|${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
  );
}
