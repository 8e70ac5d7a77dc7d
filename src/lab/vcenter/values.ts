/** Reference to a managed object. */
export interface Moref {
  readonly ref: string;
  readonly type: string;
}

/** A data object; its type's shape says which fields there are and in which order they go out. */
export interface Data {
  readonly is: string;
  readonly fields: Readonly<Record<string, Value | undefined>>;
}

/** A value together with the type that its property declares, for places where the wire says `anyType`. */
export interface Declared {
  readonly declared: string;
  readonly array: boolean;
  readonly value: Value;
}

/** In an `anyType` place a number is an xsd:int and a bigint an xsd:long; elsewhere the declared type decides. */
export type Value = string | number | bigint | boolean | Date | Moref | Data | Declared | readonly Value[];

export function moref(type: string, ref: string): Moref {
  return { ref, type };
}

export function data(is: string, fields: Readonly<Record<string, Value | undefined>> = {}): Data {
  return { is, fields };
}

export function declare(declared: string, array: boolean, value: Value): Declared {
  return { declared, array, value };
}

export function isMoref(value: Value | undefined): value is Moref {
  return typeof value === "object" && "ref" in value;
}

export function isData(value: Value | undefined): value is Data {
  return typeof value === "object" && "is" in value;
}

export function isList(value: Value | undefined): value is readonly Value[] {
  return Array.isArray(value);
}
