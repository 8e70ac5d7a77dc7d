import { createHash } from "node:crypto";
import { closeSync, openSync, readdirSync, readSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Config } from "../config.js";
import { SecretTexts } from "../log.js";

/** Passwords are a line; what is longer is another file by mistake, and its first part is hidden all the same. */
const SECRET_BYTES_MAX = 4096;
const REDACTED = "[redacted]";

/**
 * What looks like a secret whoever wrote it, and what is left of it. Gaps have bounds: logs hold text of servers, and a search that begins
 * anew at each word of a long line would take hours.
 */
const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, REDACTED],
  [/(vmware_soap_session=)(?:\\*"[^"\s]*"?|[^\s;,]+)/gi, `$1${REDACTED}`],
  [/cst-[A-Za-z0-9]+-[A-Za-z0-9-]+/g, REDACTED],
  [/session\[[^\]\s]{0,200}\][0-9a-f-]*/gi, "session[redacted]"],
  [/(session_id(?:=|%3D))[^&\s"\\]+/gi, `$1${REDACTED}`],
  // User and password of a URL, such as one in a command of `hooks`; some put a token in place of both.
  [/(:\/\/)[^\s/?#"'<>]{1,500}@/g, `$1${REDACTED}@`],
  [/(\b(?:basic|bearer)\s+)[A-Za-z0-9+/=._~-]{8,}/gi, `$1${REDACTED}`],
  // A key of TOML or JSON, also inside of a JSON text, or a parameter; not the name of a password file.
  [
    /((?:password|passwd|pwd|secret|ticket|token|cookie|authorization)\\*"?\s*[:=]\s*)(?:\\*"(?:[^"\\]|\\.)*\\*"?|'[^']*')/gi,
    `$1"${REDACTED}"`,
  ],
  // Without quotes of its own it may stand inside of a text, which quotes would end.
  [
    /((?:password|passwd|pwd|secret|ticket|token|cookie|authorization)\\*"?\s*[:=]\s*)[^\s,;&}<"](?:"(?![,}\]:\s]|$)|[^\s,;&}<"])*/gi,
    `$1${REDACTED}`,
  ],
  [/(<(password|sessionId|cookie|ticket)\b[^>]{0,200}>)[^<]*/gi, `$1${REDACTED}`],
];

/**
 * Every secret that this host's configuration leads to. Password files count line by line, and also when a mount would refuse them: what
 * they hold is no less secret.
 */
export function knownSecrets(config: Config, env: Readonly<Record<string, string | undefined>>): SecretTexts {
  const secrets = new SecretTexts();
  const files = [env["VMMOUNT_PASSWORD_FILE"]];
  for (const { password, password_file: file } of config.servers.values()) {
    if (password !== undefined) secrets.add(password);
    files.push(file);
  }
  const folder = env["CREDENTIALS_DIRECTORY"];
  for (const path of [...files, ...(folder === undefined ? [] : credentialFiles(folder))]) {
    if (path === undefined || path === "") continue;
    for (const line of firstBytes(path).split(/\r?\n/)) secrets.add(line);
  }
  return secrets;
}

function credentialFiles(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.startsWith("vmmount."))
      .map((name) => join(folder, name));
  } catch {
    // Without the folder there is no secret in it.
    return [];
  }
}

function firstBytes(path: string): string {
  try {
    // What is in a pipe is for whoever logs in; without a writer, opening it would not return.
    if (!statSync(path).isFile()) return "";
    const fd = openSync(path, "r");
    try {
      const buffer = Buffer.alloc(SECRET_BYTES_MAX);
      // Without a byte order mark, as a password is used.
      return new TextDecoder().decode(buffer.subarray(0, readSync(fd, buffer, 0, buffer.length, 0)));
    } finally {
      closeSync(fd);
    }
  } catch {
    // Who cannot read it here cannot have used it either.
    return "";
  }
}

/** The text without secrets: those that are known, and whatever looks like one. Equal references of a pool stay equal. */
export function redacted(text: string, secrets: SecretTexts): string {
  let shown = secrets.strip(text);
  // A session of a pool is a reference like any other: who has one is logged in.
  shown = shown.replace(/OpaqueRef(:|%3A)([0-9A-Za-z-]+)/gi, (_, colon: string, id: string) => {
    return `OpaqueRef${colon}#${createHash("sha256").update(id).digest("hex").slice(0, 12)}`;
  });
  for (const [pattern, rest] of PATTERNS) shown = shown.replace(pattern, rest);
  return shown;
}
