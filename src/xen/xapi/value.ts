/** A value of XAPI. Integers, dates, references and enumerations are text, as they come over the wire. */
export type XapiValue = string | number | boolean | readonly XapiValue[] | XapiRecord;

/** A record or a map. */
export interface XapiRecord {
  readonly [name: string]: XapiValue;
}

/** The reference of nothing. */
export const NULL_REF = "OpaqueRef:NULL";

export function isRecord(value: XapiValue | undefined): value is XapiRecord {
  return typeof value === "object" && !Array.isArray(value);
}
