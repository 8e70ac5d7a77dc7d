import { invalidRequest } from "./faults.js";

/** A request element with namespaces resolved. */
export interface Element {
  readonly name: string;
  readonly namespace: string;
  /** Keyed by local name for plain attributes and by `{namespace}local` for qualified ones. */
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: readonly Element[];
  /** Text of this element alone, entities decoded. */
  readonly text: string;
  /** Namespaces in scope, for prefixes inside attribute values such as `xsi:type`. */
  readonly scope: ReadonlyMap<string, string>;
}

/** Deepest nesting of a request: selection sets of property collectors reach a dozen levels. */
const DEPTH_MAX = 60;

/** The five entities of XML and character references: nothing can be declared, so nothing can be expanded. */
const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

/** One piece of a document at a time: text, element, end, CDATA; comments and processing instructions are skipped. */
const TOKEN = new RegExp(
  [
    String.raw`<\?[\s\S]*?\?>|<!--[\s\S]*?-->`,
    String.raw`<!\[CDATA\[(?<cdata>[\s\S]*?)\]\]>`,
    String.raw`</(?<end>[\w:.-]+)\s*>`,
    String.raw`<(?<open>[\w:.-]+)(?<attributes>(?:\s+[\w:.-]+\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(?<empty>/?)>`,
    String.raw`(?<text>[^<]+)`,
  ].join("|"),
  "y",
);
const ATTRIBUTE = /([\w:.-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/g;

interface Open {
  readonly tag: string;
  readonly scope: ReadonlyMap<string, string>;
  readonly attributes: ReadonlyMap<string, string>;
  readonly children: Element[];
  text: string;
}

/**
 * Reads a document. Written by hand and strict, so that the lab does not share a parser, and its leniencies, with the
 * client that it tests.
 * @throws Fault InvalidRequest when the text is not one well-formed element, or has a DOCTYPE
 */
export function parseXml(text: string): Element {
  const outer = new Map([["xml", "http://www.w3.org/XML/1998/namespace"]]);
  const document: Open = { tag: "", scope: outer, attributes: new Map(), children: [], text: "" };
  const stack = [document];
  TOKEN.lastIndex = 0;
  for (let at = 0; at < text.length; at = TOKEN.lastIndex) {
    const groups = TOKEN.exec(text)?.groups;
    if (groups === undefined) {
      if (TOKEN.lastIndex > at) continue;
      throw invalidRequest(`XML document is not valid at offset ${at}`);
    }
    const top = stack.at(-1) ?? document;
    top.text += groups["cdata"] ?? decodeEntities(groups["text"] ?? "");
    if (groups["open"] !== undefined) {
      if (stack.length > DEPTH_MAX) throw invalidRequest("XML document is nested too deeply");
      stack.push(openElement(groups["open"], groups["attributes"] ?? "", top.scope));
    }
    const ends = groups["empty"] === "/" ? groups["open"] : groups["end"];
    if (ends !== undefined) closeElement(stack, ends);
  }
  const [root] = document.children;
  if (stack.length !== 1 || root === undefined || document.children.length !== 1 || document.text.trim() !== "") {
    throw invalidRequest("XML document has no single root element");
  }
  return root;
}

function openElement(tag: string, attributeText: string, outer: ReadonlyMap<string, string>): Open {
  const scope = new Map(outer);
  const raw = [...attributeText.matchAll(ATTRIBUTE)].map(
    (match) => [match[1] ?? "", decodeEntities(match[2] ?? match[3] ?? "")] as const,
  );
  for (const [name, value] of raw) {
    if (name === "xmlns") scope.set("", value);
    else if (name.startsWith("xmlns:")) scope.set(name.slice(6), value);
  }
  const attributes = new Map<string, string>();
  for (const [name, value] of raw) {
    if (name === "xmlns" || name.startsWith("xmlns:")) continue;
    const { prefix, local } = splitName(name);
    attributes.set(prefix === "" ? local : `{${namespaceOf(prefix, scope)}}${local}`, value);
  }
  return { tag, scope, attributes, children: [], text: "" };
}

function closeElement(stack: Open[], tag: string): void {
  const open = stack.pop();
  const parent = stack.at(-1);
  if (open?.tag !== tag || parent === undefined)
    throw invalidRequest(`XML document closes "${tag}", which is not open`);
  const { prefix, local } = splitName(tag);
  const { attributes, children, text, scope } = open;
  const namespace = prefix === "" ? (scope.get("") ?? "") : namespaceOf(prefix, scope);
  parent.children.push({ name: local, namespace, attributes, children, text, scope });
}

function namespaceOf(prefix: string, scope: ReadonlyMap<string, string>): string {
  const namespace = scope.get(prefix);
  if (namespace === undefined) throw invalidRequest(`XML document uses prefix "${prefix}" without declaring it`);
  return namespace;
}

function splitName(name: string): { readonly prefix: string; readonly local: string } {
  const colon = name.indexOf(":");
  return { prefix: colon < 0 ? "" : name.slice(0, colon), local: name.slice(colon + 1) };
}

function decodeEntities(text: string): string {
  if (!text.includes("&")) return text;
  return text.replace(/&(#x[0-9a-f]{1,6}|#\d{1,7}|\w{1,8});/gi, (whole, name: string) => {
    if (!name.startsWith("#")) return ENTITIES[name] ?? whole;
    const hex = name[1] === "x" || name[1] === "X";
    const point = Number.parseInt(name.slice(hex ? 2 : 1), hex ? 16 : 10);
    return point <= 0x10ffff ? String.fromCodePoint(point) : whole;
  });
}

/** Control characters other than tab and line ends cannot stand in XML 1.0, not even escaped: they become U+FFFD. */
export function escapeXml(text: string): string {
  return text
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, "\ufffd")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("\r", "&#xD;");
}

const XSI = "http://www.w3.org/2001/XMLSchema-instance";

/** The local part of `xsi:type`, whatever the prefix. */
export function xsiType(element: Element): string | undefined {
  const text = element.attributes.get(`{${XSI}}type`);
  return text === undefined ? undefined : splitName(text.trim()).local;
}
