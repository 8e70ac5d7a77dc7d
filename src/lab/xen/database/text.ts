import { dateText, Double, isList, SmallInt, type Value } from "../value.js";

/** A value as XAPI's database holds it, which is text: what expressions compare and dumps show. */
export function databaseText(value: Value): string {
  if (typeof value === "string") return value;
  if (value instanceof Date) return dateText(value);
  if (value instanceof SmallInt) return String(value.value);
  if (value instanceof Double) return floatText(value.value);
  if (isList(value)) return `(${value.map((one) => quoted(databaseText(one))).join(" ")})`;
  if (typeof value === "object") {
    const pairs = Object.entries(value).map(([key, one]) => `(${quoted(key)} ${quoted(databaseText(one))})`);
    return `(${pairs.join(" ")})`;
  }
  return String(value);
}

/** `%.16g`, as every float of XAPI is written. */
export function floatText(value: number): string {
  const text = value.toPrecision(16);
  return text.includes("e") || !text.includes(".") ? String(value) : text.replace(/\.?0+$/, "");
}

/** An atom of an S-expression. */
function quoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
