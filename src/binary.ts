import { IntegrityError } from "./errors.js";

/**
 * Binary layouts as tables: a struct lists its fields in order and says its size, which is checked when the module
 * loads, so that a wrong layout never reaches a wire or a disk.
 *
 * ```ts
 * const header = struct({ len: u32, opcode: u32, unique: u64big }, 16, "header");
 * header.decode(view, 0).opcode;
 * header.encode({ len: 16, opcode: 1, unique: 2n }, view, 0);
 * ```
 */
export interface Field<T> {
  /** Bytes. */
  readonly size: number;
  decode(view: DataView, at: number): T;
  encode(value: T, view: DataView, at: number): void;
}

/** Bytes without meaning: skipped when read, zero when written, absent from the struct's value. */
export interface Padding {
  readonly padding: true;
  readonly size: number;
}

export type FieldTable = Readonly<Record<string, Field<unknown> | Padding>>;

/** The value that a table of fields describes. */
export type StructValue<F> = {
  -readonly [K in keyof F as F[K] extends Padding ? never : K]: F[K] extends Field<infer T> ? T : never;
};

/** A struct is a field itself, so structs nest. */
export type Struct<T> = Field<T>;

/** What `struct(...)` reads and writes: `type Header = ValueOf<typeof header>`. */
export type ValueOf<S> = S extends Field<infer T> ? T : never;

/** 2^53 - 1 bytes are 8 PiB: a larger offset or size is never real, so it means damaged or hostile bytes. */
function safe(value: bigint): number {
  const result = Number(value);
  if (!Number.isSafeInteger(result)) throw new IntegrityError(`Cannot decode ${value.toString()}: it exceeds 2^53 - 1`);
  return result;
}

// A table costs about 0.2 µs per struct (measured); a reader that needs less time writes its field accesses by hand.
export const u8: Field<number> = {
  size: 1,
  decode: (view, at) => view.getUint8(at),
  encode: (value, view, at) => {
    view.setUint8(at, value);
  },
};

function numbers(littleEndian: boolean) {
  const small = (size: number, kind: "Uint16" | "Uint32" | "Int32"): Field<number> => {
    const [get, set] = [`get${kind}`, `set${kind}`] as const;
    return {
      size,
      decode: (view, at) => view[get](at, littleEndian),
      encode: (value, view, at) => {
        view[set](at, value, littleEndian);
      },
    };
  };
  const large = <T>(kind: "BigUint64" | "BigInt64", from: (value: bigint) => T, to: (value: T) => bigint): Field<T> => {
    const [get, set] = [`get${kind}`, `set${kind}`] as const;
    return {
      size: 8,
      decode: (view, at) => from(view[get](at, littleEndian)),
      encode: (value, view, at) => {
        view[set](at, to(value), littleEndian);
      },
    };
  };
  const same = (value: bigint): bigint => value;
  return {
    u16: small(2, "Uint16"),
    u32: small(4, "Uint32"),
    i32: small(4, "Int32"),
    u64: large("BigUint64", safe, BigInt),
    i64: large("BigInt64", safe, BigInt),
    u64big: large("BigUint64", same, same),
  };
}

/**
 * Little-endian numbers. `u64` and `i64` are JavaScript numbers and throw IntegrityError beyond 2^53 - 1; `u64big` is
 * for opaque 64-bit values that must come back bit for bit.
 */
export const { u16, u32, i32, u64, i64, u64big } = numbers(true);

/** Big-endian ("network order") numbers. */
export const { u16: u16be, u32: u32be, u64: u64be, u64big: u64bigbe } = numbers(false);

/** `size` bytes as they are; decoding copies, encoding wants exactly `size` bytes. */
export function raw(size: number): Field<Uint8Array> {
  return {
    size,
    decode: (view, at) => new Uint8Array(view.buffer, view.byteOffset + at, size).slice(),
    encode: (value, view, at) => {
      if (value.length !== size) throw new RangeError(`Cannot encode ${value.length} bytes as a field of ${size}`);
      new Uint8Array(view.buffer, view.byteOffset + at, size).set(value);
    },
  };
}

export function padding(size: number): Padding {
  return { padding: true, size };
}

/**
 * @param size in bytes, as the format's definition states it; a table that adds up to something else is a bug
 * @param name for error messages, as the format's definition spells it
 */
export function struct<const F extends FieldTable>(fields: F, size: number, name = "struct"): Struct<StructValue<F>> {
  const members: { readonly key: string; readonly at: number; readonly field: Field<unknown> }[] = [];
  let end = 0;
  for (const [key, field] of Object.entries(fields)) {
    if (!("padding" in field)) members.push({ key, at: end, field: field });
    end += field.size;
  }
  if (end !== size) throw new TypeError(`Cannot define ${name}: its fields take ${end} bytes, not ${size}`);
  return {
    size,
    decode(view, at) {
      checkRoom(name, view, at, size);
      const value: Record<string, unknown> = {};
      for (const member of members) value[member.key] = member.field.decode(view, at + member.at);
      return value as StructValue<F>;
    },
    encode(value, view, at) {
      if (at + size > view.byteLength) throw new RangeError(`Cannot encode ${name}: no room for its ${size} bytes`);
      new Uint8Array(view.buffer, view.byteOffset + at, size).fill(0);
      for (const member of members) {
        member.field.encode((value as Record<string, unknown>)[member.key], view, at + member.at);
      }
    },
  };
}

function checkRoom(name: string, view: DataView, at: number, size: number): void {
  if (at + size <= view.byteLength) return;
  throw new IntegrityError(`Cannot decode ${name}: it takes ${size} bytes and only ${view.byteLength - at} are there`);
}

export function viewOf(data: Uint8Array): DataView {
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}

/** The bytes of one struct in a buffer of their own. */
export function encoded<T>(layout: Struct<T>, value: T): Uint8Array {
  const data = new Uint8Array(layout.size);
  layout.encode(value, viewOf(data), 0);
  return data;
}

/** Reads front to back within its bytes; asking for more than is left throws IntegrityError. */
export class Cursor {
  readonly #data: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
    this.#view = viewOf(data);
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#data.length - this.#at;
  }

  take<T>(field: Field<T>): T {
    const at = this.#advance(field.size);
    return field.decode(this.#view, at);
  }

  /** A view of the next `length` bytes: valid as long as the underlying buffer is not reused. */
  bytes(length: number): Uint8Array {
    const at = this.#advance(length);
    return this.#data.subarray(at, at + length);
  }

  skip(length: number): void {
    this.#advance(length);
  }

  /** A UTF-8 string up to its NUL, which is consumed too. */
  cString(): string {
    const end = this.#data.indexOf(0, this.#at);
    if (end < 0) throw new IntegrityError("Cannot decode a string: its final NUL is missing");
    const text = Buffer.from(this.#data.buffer, this.#data.byteOffset + this.#at, end - this.#at).toString("utf8");
    this.#at = end + 1;
    return text;
  }

  #advance(length: number): number {
    if (length > this.remaining) {
      throw new IntegrityError(`Cannot decode ${length} bytes: only ${this.remaining} are left`);
    }
    const at = this.#at;
    this.#at += length;
    return at;
  }
}
