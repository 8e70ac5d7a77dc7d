import { createHash } from "node:crypto";
import { closeNames } from "./close-names.js";

/** What `mount.name` may be made of, with what each stands for. */
export const MOUNT_NAME_PARTS = ["type", "name", "instanceuuid8", "instanceuuid", "server", "session"] as const;
type Part = (typeof MOUNT_NAME_PARTS)[number];

/** Without one of these, the mounts of all VMs would have the same directory. */
const TELLING: readonly string[] = ["name", "instanceuuid8", "instanceuuid", "session"] satisfies Part[];

/** Of each part; six of them and some text stay below the 255 bytes that a file name may have. */
const PART_BYTES_MAX = 80;
const TEMPLATE_CHARS_MAX = 120;
const NAME_BYTES_MAX = 255;

/**
 * Checks a template such as `{type}-{name}-{instanceuuid8}`.
 * @throws RangeError naming what is wrong
 */
export function parseMountName(template: string): string {
  for (const [, part = ""] of template.matchAll(/\{([^{}]*)\}/g)) {
    if ((MOUNT_NAME_PARTS as readonly string[]).includes(part)) continue;
    const [close] = closeNames(part, MOUNT_NAME_PARTS, 1);
    const known = MOUNT_NAME_PARTS.map((one) => `{${one}}`).join(", ");
    throw new RangeError(
      `Cannot use "{${part}}" in a name: ${close === undefined ? `it is none of ${known}` : `did you mean {${close}}?`}`,
    );
  }
  if (!TELLING.some((part) => template.includes(`{${part}}`))) {
    throw new RangeError(`Cannot use name "${template}": all VMs would get the same directory; use {name} in it`);
  }
  if (!/^[A-Za-z0-9{][A-Za-z0-9._{}-]*$/.test(template) || template.length > TEMPLATE_CHARS_MAX) {
    throw new RangeError(`Cannot use name "${template}": besides {…} it may hold letters, digits, ".", "_" and "-"`);
  }
  return template;
}

export interface MountNameFacts {
  readonly type: string;
  readonly name: string;
  readonly instanceUuid: string | undefined;
  readonly server: string;
  readonly session: string;
  /** Tells the VM apart where it has no instance UUID. */
  readonly ref: string;
}

/** A file name by a template: letters and digits of all scripts stay, everything that a shell script trips over becomes "_". */
export function mountName(template: string, facts: MountNameFacts): string {
  const uuid = facts.instanceUuid ?? createHash("sha256").update(`${facts.server}\n${facts.ref}`).digest("hex");
  const values: Record<Part, string> = {
    type: facts.type,
    name: facts.name,
    instanceuuid8: uuid.slice(0, 8),
    instanceuuid: uuid.slice(0, 36),
    server: facts.server,
    session: facts.session,
  };
  const name = template.replace(/\{([^{}]*)\}/g, (_, part: string) => safe(values[part as Part]));
  const shown = name.startsWith(".") ? `_${name.slice(1)}` : name;
  return cut(shown, NAME_BYTES_MAX);
}

function safe(text: string): string {
  return cut(text.normalize("NFC").replace(/[^\p{L}\p{M}\p{N}._-]/gu, "_"), PART_BYTES_MAX);
}

/** Never in the middle of a character. */
function cut(text: string, bytesMax: number): string {
  if (Buffer.byteLength(text) <= bytesMax) return text;
  return Buffer.from(text)
    .subarray(0, bytesMax)
    .toString("utf8")
    .replace(/\ufffd+$/, "");
}
