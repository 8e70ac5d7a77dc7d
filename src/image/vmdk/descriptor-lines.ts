import { IntegrityError } from "../../errors.js";

/** qemu stops at 1 MiB; 4096 extent lines of 255 bytes just fit. */
export const DESCRIPTOR_CHARS_MAX = 1024 * 1024;
/** A path of Linux (4096 bytes) plus its key. */
export const DESCRIPTOR_LINE_CHARS_MAX = 4352;
/** 4096 extents, a few dozen keys, comments. */
export const DESCRIPTOR_LINES_MAX = 8192;

/** Real descriptors have some 15 entries. */
const KEYS_MAX = 256;
/** What an error message shows of a line. */
const QUOTE_CHARS_MAX = 80;

export interface DescriptorLine {
  readonly text: string;
  refuse(reason: string): IntegrityError;
}

export interface Field {
  readonly value: string;
  refuse(reason: string): IntegrityError;
}

/** The keys of a descriptor, found in any case. */
export class Fields {
  readonly #fields = new Map<string, Field>();

  /** @throws IntegrityError when the key is there already: readers disagree on which one counts */
  add(key: string, value: string, line: DescriptorLine): void {
    if (this.#fields.has(key.toLowerCase())) throw line.refuse("this key stands there twice");
    if (this.#fields.size >= KEYS_MAX) throw line.refuse(`there are more than ${KEYS_MAX} keys`);
    this.#fields.set(key.toLowerCase(), { value, refuse: (reason) => line.refuse(reason) });
  }

  find(key: string): Field | undefined {
    return this.#fields.get(key.toLowerCase());
  }

  /** @throws IntegrityError when the key is absent */
  require(key: string): Field {
    const field = this.find(key);
    if (field === undefined) throw new IntegrityError(`Cannot use VMDK descriptor: it has no line "${key}="`);
    return field;
  }
}

const EXTENT = /^(?:RW|RDONLY|NOACCESS)\s/i;
const KEY_VALUE = /^([A-Za-z][\w.-]*)\s*=\s*(.*)$/;

/** Sorts the lines of a descriptor into extents, disk database and header; bounds come before anything else. */
export class DescriptorReader {
  readonly header = new Fields();
  readonly ddb = new Map<string, string>();
  readonly extentLines: DescriptorLine[] = [];
  readonly #ddbFields = new Fields();

  constructor(text: string) {
    if (text.length > DESCRIPTOR_CHARS_MAX) {
      throw new IntegrityError(
        `Cannot use VMDK descriptor: it has ${text.length} characters and the limit is ${DESCRIPTOR_CHARS_MAX}`,
      );
    }
    const lines = (text.replace(/^\ufeff/, "").split("\0", 1)[0] ?? "").split("\n");
    if (lines.length > DESCRIPTOR_LINES_MAX) {
      throw new IntegrityError(
        `Cannot use VMDK descriptor: it has ${lines.length} lines and the limit is ${DESCRIPTOR_LINES_MAX}`,
      );
    }
    lines.forEach((line, index) => {
      this.#take(line, index + 1);
    });
  }

  #take(raw: string, number: number): void {
    const text = raw.trim();
    const line: DescriptorLine = { text, refuse: (reason) => refusal(text, number, reason) };
    if (raw.length > DESCRIPTOR_LINE_CHARS_MAX) throw line.refuse("the line is too long");
    // Control characters would reach logs, file names and the descriptors that we write.
    if (hasControlCharacters(text)) throw line.refuse("it holds control characters");
    if (text === "" || text.startsWith("#")) return;
    if (EXTENT.test(text)) {
      this.extentLines.push(line);
      return;
    }
    const [, key, value] = KEY_VALUE.exec(text) ?? [];
    if (key === undefined || value === undefined) throw line.refuse("it is neither a key, an extent nor a comment");
    const unquoted = /^"(.*)"$/.exec(value)?.[1] ?? value;
    if (!key.toLowerCase().startsWith("ddb.")) {
      this.header.add(key, unquoted, line);
      return;
    }
    this.#ddbFields.add(key, unquoted, line);
    this.ddb.set(key, unquoted);
  }
}

export function hasControlCharacters(text: string): boolean {
  return /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u2028\u2029]/.test(text);
}

function refusal(text: string, number: number, reason: string): IntegrityError {
  const shown = JSON.stringify(text.slice(0, QUOTE_CHARS_MAX));
  return new IntegrityError(`Cannot use VMDK descriptor: line ${number} (${shown}): ${reason}`);
}
