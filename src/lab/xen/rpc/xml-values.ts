import { floatText } from "../database/text.js";
import { dateText, Double, isList, isMap, SmallInt, type Value } from "../value.js";

/** A `<value>` element as XAPI's own encoder writes it: no white space, integers and texts without a type. */
export function xmlValue(value: Value): string {
  return `<value>${content(value)}</value>`;
}

function content(value: Value): string {
  if (typeof value === "string") return escapeText(value);
  if (typeof value === "number") return String(value);
  if (typeof value === "boolean") return `<boolean>${value ? 1 : 0}</boolean>`;
  if (value instanceof Double) return `<double>${floatText(value.value)}</double>`;
  if (value instanceof SmallInt) return `<i4>${value.value}</i4>`;
  if (value instanceof Date) return `<dateTime.iso8601>${dateText(value)}</dateTime.iso8601>`;
  if (isList(value)) return `<array><data>${value.map(xmlValue).join("")}</data></array>`;
  if (isMap(value)) {
    const members = Object.entries(value).map(
      ([name, one]) => `<member><name>${escapeText(name)}</name>${xmlValue(one)}</member>`,
    );
    return `<struct>${members.join("")}</struct>`;
  }
  return "";
}

/** The four characters that XAPI escapes; control characters other than tab and line ends are dropped. */
function escapeText(text: string): string {
  return text
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, "")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
