import type { XapiValue } from "./value.js";

/** Enough of a record to see what is in it, little enough for a log. */
const DUMP_CHARS_MAX = 16 * 1024;

/** The call that a message belongs to. */
export interface DumpedCall {
  readonly method: string;
  readonly params: readonly XapiValue[];
}

/** Of a map: passwords of storage stand in PBD.device_config, for example. */
const SECRET_MEMBER = /(<name>[^<]*(?:pass|secret|token)[^<]*<\/name>\s*<value>(?:<string>)?)[^<]+/gi;

/**
 * A message of XML-RPC as a log may hold it: without the password of a login, without the session, which nearly every call
 * begins with and which answers repeat (in faults, in names of NBD exports), and without secrets of the pool.
 */
export function withoutSecrets(text: string, { method, params }: DumpedCall): string {
  if (method.startsWith("session.")) return "[secret]";
  const [session] = params;
  const known = typeof session === "string" && session !== "" ? text.replaceAll(session, "[session]") : text;
  return known.replace(SECRET_MEMBER, "$1[secret]").slice(0, DUMP_CHARS_MAX);
}
