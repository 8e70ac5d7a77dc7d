import { IntegrityError } from "../errors.js";

/** A .vmx has some KiB; the lists that an encrypted one carries reach some hundred. */
export const VMX_BYTES_MAX = 1024 * 1024;
/** Real files have some hundred entries. */
const ENTRIES_MAX = 16_384;

/**
 * The entries of a .vmx file: `key = "value"`, one a line. Reading is tolerant, since other products and people write
 * these files too: LF or CRLF, keys and booleans in any case, values without quotes, `#` comments; lines that are
 * nothing of this are passed over. The text is in the encoding that `.encoding` names, UTF-8 without one.
 */
export class Vmx {
  readonly #values: ReadonlyMap<string, string>;
  readonly #contradicted: ReadonlySet<string>;

  private constructor(values: ReadonlyMap<string, string>, contradicted: ReadonlySet<string>) {
    this.#values = values;
    this.#contradicted = contradicted;
  }

  /** @throws IntegrityError when the file is far too large */
  static parse(content: Uint8Array): Vmx {
    if (content.length > VMX_BYTES_MAX) {
      throw new IntegrityError(
        `Cannot use .vmx file: it has ${content.length} bytes and the limit is ${VMX_BYTES_MAX}`,
      );
    }
    const values = new Map<string, string>();
    const contradicted = new Set<string>();
    for (const line of decode(content).split(/\r\n|\n|\r/)) {
      const entry = parseLine(line);
      if (entry === undefined) continue;
      const [key, value] = entry;
      const earlier = values.get(key);
      if (earlier !== undefined && earlier !== value) contradicted.add(key);
      if (earlier === undefined && values.size >= ENTRIES_MAX) {
        throw new IntegrityError(`Cannot use .vmx file: it has more than ${ENTRIES_MAX} entries`);
      }
      values.set(key, value);
    }
    return new Vmx(values, contradicted);
  }

  /**
   * The value of a key, in any case.
   * @throws IntegrityError when the key stands there twice with different values: nobody documents which one counts
   */
  get(key: string): string | undefined {
    const known = key.toLowerCase();
    if (this.#contradicted.has(known)) {
      throw new IntegrityError(`Cannot use .vmx file: "${key}" stands in it twice, with different values`);
    }
    return this.#values.get(known);
  }

  /** Whether the value is "TRUE"; undefined where there is none. */
  flag(key: string): boolean | undefined {
    const value = this.get(key);
    return value === undefined ? undefined : value.trim().toLowerCase() === "true";
  }

  /** A count; undefined where there is none, or something else than a number. */
  count(key: string): number | undefined {
    const value = this.get(key)?.trim() ?? "";
    return /^\d{1,9}$/.test(value) ? Number(value) : undefined;
  }

  /** In lower case, in the order of the file. */
  keys(): Iterable<string> {
    return this.#values.keys();
  }
}

/** The key in lower case, and the value without quotes and escapes. */
function parseLine(line: string): [string, string] | undefined {
  const equals = line.indexOf("=");
  const key = line.slice(0, Math.max(0, equals)).trim().toLowerCase();
  // `.encoding` begins with a dot. A key with a quote or a space is some other text.
  if (key === "" || key.startsWith("#") || !/^[\w.:-]+$/.test(key)) return undefined;
  const rest = line.slice(equals + 1).trim();
  const isQuoted = rest.length >= 2 && rest.startsWith('"') && rest.endsWith('"');
  return [key, unescape(isQuoted ? rest.slice(1, -1) : rest)];
}

/** `|22` is a quote, `|7C` a bar, `|0A` a line end. */
function unescape(value: string): string {
  return value.replace(/\|([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** Where `.encoding` is looked for: VMware writes it into the first line. */
const ENCODING_BYTES = 4096;

function decode(content: Uint8Array): string {
  const head = Buffer.from(content.subarray(0, ENCODING_BYTES)).toString("latin1");
  const named = /^[ \t]*\.encoding[ \t]*=[ \t]*"?([\w-]{1,40})"?/im.exec(head)?.[1] ?? "utf-8";
  return decoder(named).decode(content);
}

function decoder(label: string): InstanceType<typeof TextDecoder> {
  try {
    return new TextDecoder(label);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    // An encoding that nobody knows: keys and most names are ASCII in all of them.
    return new TextDecoder("utf-8");
  }
}

/** `56 4d 12 34 … -ab …` of a .vmx or descriptor as a UUID with dashes; undefined when it is none. */
export function uuidOfHexBytes(text: string | undefined): string | undefined {
  const digits = (text ?? "").replace(/[\s-]/g, "").toLowerCase();
  const match = /^([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/.exec(digits);
  return match?.slice(1).join("-");
}
