import { createRequire } from "node:module";
import type * as FastXmlParser from "fast-xml-parser";
import { IntegrityError } from "../errors.js";
import { unescapeXml } from "../xml-entities.js";

/** One element of a server's answer: names by namespace, text verbatim, nothing guessed. */
export interface XmlElement {
  /** Name without prefix. */
  readonly name: string;
  /** Local name of `xsi:type`, found by namespace: servers bind other prefixes than `xsi`. */
  readonly xsiType: string | undefined;
  /** The attribute `type` without prefix: the class of a managed object reference, which may stand beside `xsi:type`. */
  readonly type: string | undefined;
  readonly children: readonly XmlElement[];
  /** Own text, entities undone, white space kept. */
  readonly text: string;
}

/** Deepest honest answer: a snapshot tree has at most 32 levels, each one element deep, below some 10 levels of SOAP. */
const DEPTH_MAX = 100;
/** Longer than any end tag. */
const TAIL_CHARS = 1024;
const XSI = "http://www.w3.org/2001/XMLSchema-instance";
const ATTRIBUTE = "@";
const TEXT = "#text";
const CDATA = "#cdata";

/** Required, the package is one file; imported, it is dozens, which take three times as long to load. */
const { XMLParser } = createRequire(import.meta.url)("fast-xml-parser") as typeof FastXmlParser;

const parser = new XMLParser({
  preserveOrder: true,
  ignoreAttributes: false,
  attributeNamePrefix: ATTRIBUTE,
  textNodeName: TEXT,
  cdataPropName: CDATA,
  ignoreDeclaration: true,
  ignorePiTags: true,
  // Texts are data: "007" is not 7, and the only entities are XML's own, undone below.
  parseTagValue: false,
  parseAttributeValue: false,
  trimValues: false,
  processEntities: false,
  maxNestedTags: DEPTH_MAX,
  jPath: false,
});

type Node = Readonly<Record<string, unknown>>;
type Namespaces = ReadonlyMap<string, string>;

/**
 * Reads one XML document.
 * @throws IntegrityError for anything that is not well-formed enough to trust, or that declares entities
 */
export function parseXml(text: string): XmlElement {
  // A SOAP message must not hold a document type (SOAP 1.1 section 3), and entities are a memory bomb.
  if (text.includes("<!DOCTYPE") || text.includes("<!ENTITY")) {
    throw new IntegrityError("Cannot read the server's answer: it declares a document type");
  }
  if (text.includes("\0")) throw new IntegrityError("Cannot read the server's answer: it holds zero bytes");
  let nodes: unknown;
  try {
    nodes = parser.parse(text);
  } catch (error) {
    throw new IntegrityError("Cannot read the server's answer: it is not valid XML", { cause: error });
  }
  const roots = Array.isArray(nodes) ? (nodes as Node[]).filter((node) => elementName(node) !== undefined) : [];
  const [root] = roots;
  // The parser forgives a missing end; an answer that was cut off must not pass as complete.
  const tail = text.trimEnd().slice(-TAIL_CHARS);
  const closed =
    root !== undefined && (tail.endsWith("/>") || tail.replace(/\s*>$/, "").endsWith(`</${elementName(root)}`));
  if (root === undefined || roots.length !== 1 || !closed) {
    throw new IntegrityError("Cannot read the server's answer: it is not one complete XML document");
  }
  return toElement(root, new Map());
}

function elementName(node: Node): string | undefined {
  return Object.keys(node).find((key) => key !== ":@" && key !== TEXT && key !== CDATA);
}

function toElement(node: Node, outer: Namespaces): XmlElement {
  const qualified = elementName(node) ?? "";
  const attributes = (node[":@"] ?? {}) as Readonly<Record<string, string>>;
  const namespaces = withDeclarations(attributes, outer);
  const children: XmlElement[] = [];
  let text = "";
  for (const child of node[qualified] as readonly Node[]) {
    if (typeof child[TEXT] === "string") text += unescaped(child[TEXT]);
    else if (CDATA in child) text += cdataText(child[CDATA]);
    else children.push(toElement(child, namespaces));
  }
  return { name: localName(qualified), ...typesOf(attributes, namespaces), children, text };
}

function cdataText(value: unknown): string {
  const parts = Array.isArray(value) ? (value as Node[]) : [];
  return parts.map((part) => (typeof part[TEXT] === "string" ? part[TEXT] : "")).join("");
}

function withDeclarations(attributes: Readonly<Record<string, string>>, outer: Namespaces): Namespaces {
  const own = Object.keys(attributes).filter((key) => key.startsWith(`${ATTRIBUTE}xmlns:`));
  if (own.length === 0) return outer;
  const namespaces = new Map(outer);
  for (const key of own) namespaces.set(key.slice(ATTRIBUTE.length + "xmlns:".length), attributes[key] ?? "");
  return namespaces;
}

function typesOf(
  attributes: Readonly<Record<string, string>>,
  namespaces: Namespaces,
): Pick<XmlElement, "xsiType" | "type"> {
  let xsiType: string | undefined;
  let type: string | undefined;
  for (const [key, value] of Object.entries(attributes)) {
    if (key === `${ATTRIBUTE}type`) type = unescaped(value);
    else if (key.endsWith(":type")) {
      const prefix = key.slice(ATTRIBUTE.length, -":type".length);
      if (namespaces.get(prefix) === XSI) xsiType = localName(unescaped(value));
    }
  }
  return { xsiType, type };
}

function localName(qualified: string): string {
  return qualified.slice(qualified.indexOf(":") + 1);
}

/** @throws IntegrityError */
function unescaped(text: string): string {
  try {
    return unescapeXml(text);
  } catch (error) {
    throw new IntegrityError(`Cannot read the server's answer: ${(error as Error).message}`, { cause: error });
  }
}

/** Text as XML content or attribute value; characters that XML 1.0 cannot carry become U+FFFD. */
export function escapeXml(text: string): string {
  return text
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("\r", "&#13;");
}
