import { escapeXml, parseXml, type Element } from "../../vcenter/xml.js";
import { CLASS_NAMES, fieldsOf, hasClass, TRANSIENT } from "../database/classes.js";
import type { Database } from "../database/database.js";
import { databaseText } from "../database/text.js";

/** Classes that a real pool has and this one has no objects of. */
const EMPTY_CLASSES = [
  ...["Bond", "DR_task", "GPU_group", "LVHD", "PCI", "PGPU", "SM", "VGPU", "VGPU_type", "VLAN", "VMPP", "VTPM", "auth"],
  ...["blob", "crashdump", "event", "host_cpu", "host_crashdump", "host_patch", "pool_patch", "role", "secret"],
  ...["subject", "tunnel", "user"],
];

/**
 * The pool's database as XAPI dumps it: a manifest, then a table for each class in ASCII order, all in one line. Values are
 * texts; their white space is protected, because XML readers do not keep it in attributes.
 */
export function dumpDatabase(database: Database): string {
  const { schema, name: profile } = database.profile;
  const manifest = [
    ["schema_major_vsn", schema[0]],
    ["schema_minor_vsn", schema[1]],
    ["generation_count", database.generation],
  ].map(([key, value]) => `<pair key="${String(key)}" value="${String(value)}"/>`);
  const known = CLASS_NAMES.filter((name) => hasClass(name, profile));
  const tables = [...known, ...EMPTY_CLASSES].sort().map((name) => table(database, name));
  return `<?xml version="1.0" encoding="UTF-8"?>\n<database><manifest>${manifest.join("")}</manifest>${tables.join("")}</database>`;
}

function table(database: Database, className: string): string {
  const isKept = CLASS_NAMES.includes(className) && !TRANSIENT.has(className);
  const rows = isKept ? database.refs(className).map((ref) => rowText(database, className, ref)) : [];
  return rows.length === 0 ? `<table name="${className}"/>` : `<table name="${className}">${rows.join("")}</table>`;
}

function rowText(database: Database, className: string, ref: string): string {
  const record = database.record(className, ref);
  const { created, modified } = database.generations(className, ref);
  const fields = fieldsOf(className, database.profile.name)
    .map(({ name, databaseName }): [string, string] => [databaseName, databaseText(record[name] ?? "")])
    .sort(([a], [b]) => (a < b ? -1 : 1));
  const attributes = [["ref", ref], ["__ctime", String(created)], ["__mtime", String(modified)], ...fields];
  return `<row ${attributes.map(([name = "", value = ""]) => `${name}="${escapeXml(protectedText(value))}"`).join(" ")}/>`;
}

function protectedText(text: string): string {
  return text
    .replaceAll("%", "%%")
    .replaceAll(" ", "%.")
    .replaceAll("\t", "%t")
    .replaceAll("\n", "%n")
    .replaceAll("\r", "%r");
}

const PROTECTED: Readonly<Record<string, string>> = { "%": "%", ".": " ", t: "\t", n: "\n", r: "\r" };

function plainText(text: string): string {
  return text.replace(/%([%.tnr])/g, (_, letter: string) => PROTECTED[letter] ?? "");
}

export interface ReadDump {
  readonly manifest: ReadonlyMap<string, string>;
  /** Rows by class; each holds its attributes as they were before they were protected. */
  readonly tables: ReadonlyMap<string, readonly ReadonlyMap<string, string>[]>;
}

/** @throws RangeError for what is no dump */
export function readDump(text: string): ReadDump {
  const root = parse(text);
  if (root.name !== "database") throw new RangeError("the document is no dump of a database");
  const manifest = new Map<string, string>();
  const tables = new Map<string, ReadonlyMap<string, string>[]>();
  for (const child of root.children) {
    if (child.name === "manifest") {
      for (const { attributes } of child.children)
        manifest.set(attributes.get("key") ?? "", attributes.get("value") ?? "");
    } else if (child.name === "table") {
      const rows = child.children.map(
        ({ attributes }) => new Map([...attributes].map(([name, value]) => [name, plainText(value)])),
      );
      tables.set(child.attributes.get("name") ?? "", rows);
    }
  }
  return { manifest, tables };
}

function parse(text: string): Element {
  try {
    return parseXml(text);
  } catch (error) {
    throw new RangeError("the document is no XML", { cause: error });
  }
}
