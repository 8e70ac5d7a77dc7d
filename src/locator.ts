import { isIP } from "node:net";
import { UsageError } from "./errors.js";

/** What a user may name VMs by; docs and `--help` print from this table. */
export const LOCATOR_FORMS = {
  path: { example: "/dc/folder/vm", meaning: "inventory path; write / \\ % inside a name as %2f %5c %25" },
  name: { example: "name:web01", meaning: "display name, exact and case-sensitive" },
  uuid: { example: "uuid:4211…", meaning: "BIOS UUID; clones may share it" },
  instanceuuid: { example: "instanceuuid:5011…", meaning: "UUID that is unique inside one vCenter" },
  moref: { example: "moref:vm-42", meaning: "managed object id of this server" },
  ipaddr: { example: "ipaddr:web01.example.org", meaning: "address or DNS name of the running guest" },
  vmx: { example: "vmx:[ds1] web01/web01.vmx", meaning: "configuration file on the datastore" },
  glob: { example: "glob:web*", meaning: "display name with * and ?" },
  powerstate: { example: "powerstate:on", meaning: "every VM that is on, off or suspended" },
  any: { example: "any:", meaning: "every VM" },
} as const;

/** What bare text is: VCB's VM_LOOKUP_METHOD, and `auto`, which knows the difference by its look. */
export const LOOKUPS = ["auto", "ipaddr", "name"] as const;
export type Lookup = (typeof LOOKUPS)[number];

export type LocatorForm =
  | { readonly kind: "path"; readonly path: readonly string[] }
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "uuid"; readonly uuid: string }
  | { readonly kind: "instanceuuid"; readonly uuid: string }
  | { readonly kind: "moref"; readonly id: string }
  | { readonly kind: "ipaddr"; readonly address: string }
  | { readonly kind: "vmx"; readonly path: string }
  | { readonly kind: "glob"; readonly pattern: string }
  | { readonly kind: "powerstate"; readonly state: PowerState }
  | { readonly kind: "any" };

export type PowerState = "on" | "off" | "suspended";

export interface Locator {
  /** The configured server named by a `SERVER:` prefix. */
  readonly server: string | undefined;
  readonly form: LocatorForm;
  /** As the user wrote it, for messages. */
  readonly text: string;
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
/** Longest locator taken: inventory names have at most 80 characters and folders rarely nest ten deep. */
const LOCATOR_CHARS_MAX = 4096;

/** A form for messages: what is looked for, as a user could have written it. */
export function shownForm(form: LocatorForm): string {
  switch (form.kind) {
    case "path":
      return `VM "${joinInventoryPath(form.path)}"`;
    case "name":
      return `VM "${form.name}"`;
    case "any":
      return "the VMs";
    case "uuid":
    case "instanceuuid":
      return `VM ${form.kind}:${form.uuid}`;
    case "moref":
      return `VM ${form.id}`;
    case "ipaddr":
      return `VM ipaddr:${form.address}`;
    case "vmx":
      return `VM vmx:${form.path}`;
    case "glob":
      return `VM glob:${form.pattern}`;
    case "powerstate":
      return `VMs that are ${form.state}`;
  }
}

/**
 * Reads a locator: `[SERVER:]FORM`. A prefix is a server only when it is one of `servers`; anything else without a
 * known form word is a path (leading `/`), else what `lookup` says: `auto` takes a UUID (tried as instance UUID), an IP
 * address, or an exact name.
 * @throws UsageError for an empty locator, control characters, or a form with a bad value
 */
export function parseLocator(text: string, servers: ReadonlySet<string>, lookup: Lookup = "auto"): Locator {
  if (text.length > LOCATOR_CHARS_MAX) {
    throw new UsageError(`Cannot use a VM locator of ${text.length} characters: the limit is ${LOCATOR_CHARS_MAX}`);
  }
  if (/[\u0000-\u001f\u007f]/.test(text)) {
    throw new UsageError(`Cannot use VM locator ${JSON.stringify(text)}: it holds control characters`);
  }
  const colon = text.indexOf(":");
  const prefix = colon < 0 ? "" : text.slice(0, colon);
  if (servers.has(prefix)) return { server: prefix, form: parseForm(text.slice(colon + 1), text, lookup), text };
  return { server: undefined, form: parseForm(text, text, lookup), text };
}

function parseForm(text: string, whole: string, lookup: Lookup): LocatorForm {
  if (text.startsWith("/")) return { kind: "path", path: splitInventoryPath(text) };
  const colon = text.indexOf(":");
  const word = colon < 0 ? "" : text.slice(0, colon).toLowerCase();
  const value = text.slice(colon + 1);
  const needed = (): string => {
    if (value === "") throw new UsageError(`Cannot use VM locator "${whole}": nothing follows "${word}:"`);
    return value;
  };
  switch (word) {
    case "name":
      return { kind: "name", name: needed() };
    case "uuid":
      return { kind: "uuid", uuid: checkedUuid(needed(), whole) };
    case "instanceuuid":
      return { kind: "instanceuuid", uuid: checkedUuid(needed(), whole) };
    case "moref":
      return { kind: "moref", id: needed() };
    case "ipaddr":
      return { kind: "ipaddr", address: needed() };
    case "vmx":
      return { kind: "vmx", path: needed() };
    case "glob":
      return { kind: "glob", pattern: needed() };
    case "powerstate":
      return { kind: "powerstate", state: checkedPowerState(needed().toLowerCase(), whole) };
    case "any":
      return { kind: "any" };
    default:
      if (text === "") throw new UsageError(`Cannot use an empty VM locator`);
      if (lookup === "ipaddr") return { kind: "ipaddr", address: text };
      if (lookup === "name") return { kind: "name", name: text };
      if (UUID.test(text)) return { kind: "instanceuuid", uuid: text.toLowerCase() };
      if (isIP(text) !== 0) return { kind: "ipaddr", address: text };
      return { kind: "name", name: text };
  }
}

function checkedUuid(text: string, whole: string): string {
  if (!UUID.test(text)) {
    throw new UsageError(`Cannot use VM locator "${whole}": "${text}" is not a UUID`, {
      hint: "A UUID looks like 4211a1b2-0000-1111-2222-333344445555",
    });
  }
  return text.toLowerCase();
}

function checkedPowerState(text: string, whole: string): PowerState {
  if (text !== "on" && text !== "off" && text !== "suspended") {
    throw new UsageError(`Cannot use VM locator "${whole}": the power state is "on", "off" or "suspended"`);
  }
  return text;
}

/** `/dc/a%2fb` to `["dc", "a/b"]`: empty segments vanish, the three escapes of vSphere names are undone. */
export function splitInventoryPath(path: string): string[] {
  return path
    .split("/")
    .filter((segment) => segment !== "")
    .map(unescapeInventoryName);
}

/** `["dc", "a/b"]` to `/dc/a%2fb`. */
export function joinInventoryPath(segments: readonly string[]): string {
  return `/${segments.map(escapeInventoryName).join("/")}`;
}

/** vSphere stores `/` `\` `%` inside names as `%2f` `%5c` `%25` (vSphere API reference, ManagedEntity.name). */
export function escapeInventoryName(name: string): string {
  return name.replaceAll("%", "%25").replaceAll("/", "%2f").replaceAll("\\", "%5c");
}

/** Undoes exactly the three escapes, in either case of hex digits; anything else stays as it is. */
export function unescapeInventoryName(name: string): string {
  return name.replace(/%(2f|5c|25)/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
