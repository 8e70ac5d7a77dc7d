import { ConfigError } from "../errors.js";

/** One assignment of a config.js; of a key that is given twice, the last one. */
export interface ConfigJsEntry {
  readonly key: string;
  readonly value: string;
  readonly line: number;
}

export interface ConfigJs {
  readonly entries: ReadonlyMap<string, ConfigJsEntry>;
  readonly warnings: readonly ConfigJsWarning[];
}

export interface ConfigJsWarning {
  readonly line: number;
  readonly key: string;
  readonly message: string;
}

/** The longest key of VCB has 24 letters, the longest value is a password or a path. */
const KEY_CHARS_MAX = 64;
const VALUE_CHARS_MAX = 1024;

/** Web pages and word processors turn quotes into these. */
const CURLY = "\u201c\u201d\u201e\u201f\u00ab\u00bb\u2018\u2019\u201a\u201b";
const BLANKS = /^[ \t\u00a0]*/;

/**
 * Reads the config.js of VMware Consolidated Backup: lines of `KEY = "text";` and `KEY=number;`, and `//` comments.
 * Inside of a text `\\` is one backslash, `\"` a quote; any other backslash stands for itself, since people wrote Windows
 * paths and DOMAIN\user both ways.
 * @throws ConfigError with the line of what is neither
 */
export function parseConfigJs(text: string, path: string): ConfigJs {
  const entries = new Map<string, ConfigJsEntry>();
  const warnings: ConfigJsWarning[] = [];
  text.split(/\r\n|\n|\r/).forEach((content, index) => {
    const line = index + 1;
    const reader = new LineReader(content, line, path);
    for (let found = reader.next(); found !== undefined; found = reader.next()) {
      const before = entries.get(found.key);
      if (before !== undefined) {
        const message = `it is set twice, in lines ${before.line} and ${line}: the last one counts`;
        warnings.push({ line, key: found.key, message });
      }
      for (const message of found.warnings) warnings.push({ line, key: found.key, message });
      entries.set(found.key, { key: found.key, value: found.value, line });
    }
  });
  return { entries, warnings };
}

interface Assignment {
  readonly key: string;
  readonly value: string;
  readonly warnings: readonly string[];
}

/** The assignments of one line. */
class LineReader {
  #rest: string;
  readonly #line: number;
  readonly #path: string;

  constructor(content: string, line: number, path: string) {
    this.#rest = content;
    this.#line = line;
    this.#path = path;
  }

  next(): Assignment | undefined {
    this.#blanks();
    if (this.#rest === "" || this.#rest.startsWith("//")) return undefined;
    const [key] = /^[A-Za-z_][A-Za-z0-9_]*/.exec(this.#rest) ?? [];
    if (key === undefined || key.length > KEY_CHARS_MAX) {
      throw this.#wrong('it is neither a comment (// …) nor an assignment such as HOST = "vc1.example.org";');
    }
    this.#take(key.length);
    this.#blanks();
    if (!this.#rest.startsWith("=")) throw this.#wrong(`"=" is missing after ${key}`);
    this.#take(1);
    this.#blanks();
    const { value, warnings } = this.#value(key);
    if (value.length > VALUE_CHARS_MAX) throw this.#wrong(`the value of ${key} is longer than ${VALUE_CHARS_MAX}`);
    this.#blanks();
    if (!this.#rest.startsWith(";")) throw this.#wrong(`";" is missing after the value of ${key}`);
    this.#take(1);
    return { key, value, warnings };
  }

  #value(key: string): Omit<Assignment, "key"> {
    const quote = this.#rest[0] ?? "";
    if (quote !== "" && `"'${CURLY}`.includes(quote)) return this.#quoted(key, quote);
    const [number] = /^\d+(?![A-Za-z0-9_.])/.exec(this.#rest) ?? [];
    if (number === undefined) throw this.#wrong(`the value of ${key} is neither a "text" nor a number`);
    this.#take(number.length);
    return { value: number, warnings: [] };
  }

  #quoted(key: string, quote: string): Omit<Assignment, "key"> {
    // One pair of plain quotes is what VCB took. Curly ones, and a plain one that ends in a curly one, are repaired.
    const isPlain = !CURLY.includes(quote);
    const plain = isPlain ? (this.#until(quote) ?? this.#pathUntil(quote)) : undefined;
    const text = plain ?? this.#until(`"${CURLY}`);
    if (text === undefined) throw this.#wrong(`the quote of ${key} is not closed`);
    const end = this.#rest[text.length + 1] ?? "";
    this.#take(text.length + 2);
    if (/[\u0000-\u001f\u007f-\u009f]/.test(text)) throw this.#wrong(`the value of ${key} holds control characters`);
    const warnings: string[] = [];
    if (!isPlain || end !== quote) warnings.push('its quotes are typographic ones: they were taken for "');
    if (/(?<!\\)(\\\\)*\\(?![\\"'])/.test(text)) {
      warnings.push("it holds a single backslash, which was taken as it stands");
    }
    return { value: text.replace(/\\([\\"'])/g, "$1"), warnings };
  }

  /** What stands between the quote at the front and the next one of `ends` that no backslash hides. */
  #until(ends: string): string | undefined {
    for (let at = 1; at < this.#rest.length; at++) {
      if (this.#rest[at] === "\\" && /["'\\]/.test(this.#rest[at + 1] ?? "")) at++;
      else if (ends.includes(this.#rest[at] ?? "")) return this.#rest.slice(1, at);
    }
    return undefined;
  }

  /** `"C:\mnt\"`: the backslash at the end of a path hides no quote. */
  #pathUntil(quote: string): string | undefined {
    const end = this.#rest.indexOf(`\\${quote}`, 1);
    return end < 0 ? undefined : this.#rest.slice(1, end + 1);
  }

  #blanks(): void {
    this.#rest = this.#rest.replace(BLANKS, "");
  }

  #take(length: number): void {
    this.#rest = this.#rest.slice(length);
  }

  #wrong(why: string): ConfigError {
    return new ConfigError(`Cannot read "${this.#path}", line ${this.#line}: ${why}`, {
      hint: "Correct the line, or put // in front of it",
    });
  }
}
