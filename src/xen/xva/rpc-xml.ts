import { createRequire } from "node:module";
import type * as FastXmlParser from "fast-xml-parser";
import { IntegrityError } from "../../errors.js";
import { printable } from "../../printable.js";
import { MIB } from "../../units.js";
import { unescapeXml } from "../../xml-entities.js";
import { rpcArray, type RpcStruct, type RpcValue, SCALAR_TYPES, type ScalarType } from "./rpc-value.js";

/** A VM with UEFI variables, dozens of snapshots and their metadata has some 2 MiB. */
export const OVA_XML_BYTES_MAX = 16 * MIB;
/** Four elements for each level of a value; a map in a record in the list of objects is at the fifth. */
const DEPTH_MAX = 64;
const TEXT = "#text";
const CDATA = "#cdata";

/** Required, the package is one file; imported, it is dozens, which take three times as long to load. */
const { XMLParser } = createRequire(import.meta.url)("fast-xml-parser") as typeof FastXmlParser;

const parser = new XMLParser({
  preserveOrder: true,
  ignoreAttributes: true,
  textNodeName: TEXT,
  cdataPropName: CDATA,
  ignoreDeclaration: true,
  ignorePiTags: true,
  // Texts are data: "007" is not 7, and the only entities are XML's own, undone below.
  parseTagValue: false,
  trimValues: false,
  processEntities: false,
  maxNestedTags: DEPTH_MAX,
  jPath: false,
});

type Node = Readonly<Record<string, unknown>>;

interface Element {
  readonly name: string;
  readonly children: readonly Element[];
  readonly text: string;
}

/**
 * Reads one XML-RPC `<value>`, the whole document.
 * @throws IntegrityError for anything else, for a document type, and for more than OVA_XML_BYTES_MAX
 */
export function parseRpcXml(data: Uint8Array): RpcValue {
  if (data.length > OVA_XML_BYTES_MAX) throw unusable(`it has ${data.length} bytes, more than ${OVA_XML_BYTES_MAX}`);
  const text = Buffer.from(data.buffer, data.byteOffset, data.length).toString("utf8");
  // Entities are a memory bomb, and no host writes any.
  if (text.includes("<!DOCTYPE") || text.includes("<!ENTITY")) throw unusable("it declares a document type");
  if (text.includes("\0")) throw unusable("it holds zero bytes");
  let nodes: unknown;
  try {
    nodes = parser.parse(text);
  } catch (error) {
    throw unusable("it is not valid XML", error);
  }
  const roots = Array.isArray(nodes) ? (nodes as Node[]).filter((node) => elementName(node) !== undefined) : [];
  const [root] = roots;
  // The parser forgives a missing end; a document that was cut off must not pass as complete.
  const closed = /<\/value\s*>$|<value\s*\/>$/.test(text.slice(-1024).trimEnd());
  if (root === undefined || roots.length !== 1 || !closed) throw unusable("it is not one complete value");
  return valueOf(toElement(root));
}

/** As XAPI writes it: no declaration, no white space, no final newline. */
export function formatRpcXml(value: RpcValue): string {
  const content = valueContent(value);
  return content === "" ? "<value/>" : `<value>${content}</value>`;
}

function valueContent(value: RpcValue): string {
  switch (value.kind) {
    case "scalar":
      return value.type === "bare" ? escapeXml(value.text) : element(value.type, escapeXml(value.text));
    case "array":
      return element("array", element("data", value.items.map(formatRpcXml).join("")));
    case "struct":
      return element("struct", [...value.members].map(formatMember).join(""));
  }
}

function formatMember([name, value]: readonly [string, RpcValue]): string {
  return `<member>${element("name", escapeXml(name))}${formatRpcXml(value)}</member>`;
}

function element(name: string, content: string): string {
  return content === "" ? `<${name}/>` : `<${name}>${content}</${name}>`;
}

function unusable(why: string, cause?: unknown): IntegrityError {
  return new IntegrityError(`Cannot read ova.xml: ${why}`, { cause });
}

function elementName(node: Node): string | undefined {
  return Object.keys(node).find((key) => key !== ":@" && key !== TEXT && key !== CDATA);
}

function toElement(node: Node): Element {
  const name = elementName(node) ?? "";
  const children: Element[] = [];
  let text = "";
  for (const child of node[name] as readonly Node[]) {
    if (typeof child[TEXT] === "string") text += unescaped(child[TEXT]);
    else if (CDATA in child) text += cdataText(child[CDATA]);
    else children.push(toElement(child));
  }
  return { name, children, text };
}

function cdataText(value: unknown): string {
  const parts = Array.isArray(value) ? (value as Node[]) : [];
  return parts.map((part) => (typeof part[TEXT] === "string" ? part[TEXT] : "")).join("");
}

function valueOf({ name, children, text }: Element): RpcValue {
  if (name !== "value") throw unusable(`it has <${printable(name)}> where a value is to be`);
  const [typed, ...others] = children;
  if (typed === undefined) return { kind: "scalar", type: "bare", text };
  if (others.length > 0 || text.trim() !== "") throw unusable("a value holds more than one thing");
  if (typed.name === "struct") return structOf(typed);
  if (typed.name === "array") return rpcArray(only(typed, "data").children.map(valueOf));
  const type = SCALAR_TYPES.find((known) => known === typed.name && known !== "bare");
  if (type === undefined) throw unusable(`it has a value of type <${printable(typed.name)}>`);
  return scalarOf(type, typed);
}

function scalarOf(type: ScalarType, { children, text }: Element): RpcValue {
  if (children.length > 0) throw unusable(`a value of type <${type}> holds another`);
  return { kind: "scalar", type, text };
}

function structOf(struct: Element): RpcStruct {
  const members = new Map<string, RpcValue>();
  for (const member of struct.children) {
    if (member.name !== "member") throw unusable(`a struct holds <${printable(member.name)}>`);
    const name = only(member, "name").text;
    if (members.has(name)) throw unusable(`a struct has two members "${printable(name)}"`);
    members.set(name, valueOf(only(member, "value")));
  }
  return { kind: "struct", members };
}

function only(parent: Element, name: string): Element {
  const [child, ...others] = parent.children.filter((one) => one.name === name);
  if (child === undefined || others.length > 0) throw unusable(`<${parent.name}> needs one <${name}>`);
  return child;
}

function unescaped(text: string): string {
  try {
    return unescapeXml(text);
  } catch (error) {
    throw unusable((error as Error).message, error);
  }
}

/** XAPI writes entities for these four; what XML 1.0 cannot carry becomes U+FFFD. */
function escapeXml(text: string): string {
  return text
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g, "\ufffd")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    .replaceAll("\r", "&#13;");
}
