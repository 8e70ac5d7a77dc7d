import { LOCATOR_FORMS } from "./locator.js";

const SERVER_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;
/** What may stand before a colon and is no server: `name:web01` must not ask a server called "name". */
const OTHER_WORDS = new Set([...Object.keys(LOCATOR_FORMS), "http", "https", "xen", "dir"]);

/** @returns what is wrong with it as the name of a configured server; undefined: nothing */
export function serverNameMistake(name: string): string | undefined {
  if (!SERVER_NAME.test(name)) return 'use letters, digits, ".", "_" and "-"';
  if (OTHER_WORDS.has(name.toLowerCase())) return `"${name}:" means something else before a VM or a host`;
  return undefined;
}
