/** Elements of XML-RPC that hold one text; "bare" stands for text directly in `<value>`, which is a string. */
export const SCALAR_TYPES = [
  "bare",
  "string",
  "int",
  "i4",
  "i8",
  "double",
  "boolean",
  "dateTime.iso8601",
  "base64",
  "nil",
] as const;
export type ScalarType = (typeof SCALAR_TYPES)[number];

/** Text as it was written: numbers and dates are not interpreted. */
export interface RpcScalar {
  readonly kind: "scalar";
  readonly type: ScalarType;
  readonly text: string;
}

export interface RpcArray {
  readonly kind: "array";
  readonly items: readonly RpcValue[];
}

/** Members in the order in which they were written. */
export interface RpcStruct {
  readonly kind: "struct";
  readonly members: ReadonlyMap<string, RpcValue>;
}

/** A value of XML-RPC that loses nothing on the way through: unknown members, order and exact text stay. */
export type RpcValue = RpcScalar | RpcArray | RpcStruct;

/** As XAPI writes strings, integers, enumerations and references. */
export function rpcText(text: string): RpcScalar {
  return { kind: "scalar", type: "bare", text };
}

export function rpcBoolean(value: boolean): RpcScalar {
  return { kind: "scalar", type: "boolean", text: value ? "1" : "0" };
}

/** @param text `19700101T00:00:00Z` */
export function rpcDate(text: string): RpcScalar {
  return { kind: "scalar", type: "dateTime.iso8601", text };
}

export function rpcArray(items: readonly RpcValue[] = []): RpcArray {
  return { kind: "array", items };
}

export function rpcStruct(members: Iterable<readonly [string, RpcValue]> = []): RpcStruct {
  return { kind: "struct", members: new Map(members) };
}

/** The text of a scalar; undefined for anything else. */
export function textOf(value: RpcValue | undefined): string | undefined {
  return value?.kind === "scalar" ? value.text : undefined;
}

export function isTrue(value: RpcValue | undefined): boolean {
  return value?.kind === "scalar" && value.type === "boolean" && value.text.trim() === "1";
}

/** Texts of an array; what is no text in it is left out. */
export function textsOf(value: RpcValue | undefined): readonly string[] {
  if (value?.kind !== "array") return [];
  return value.items.map(textOf).filter((text) => text !== undefined);
}
