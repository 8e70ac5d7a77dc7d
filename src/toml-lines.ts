/** One part of a key: bare, "with escapes", or 'as it stands'. */
const KEY_PART = /^[ \t]*(?:([A-Za-z0-9_-]+)|("(?:[^"\\]|\\.)*")|'([^']*)')[ \t]*/;
const MULTI_LINE = /"""|'''/;

/**
 * In which line of a TOML file each key stands, counted from 1; for messages only. The parser does not tell, and this
 * looks no deeper than lines: keys of inline tables are found at the line of the table.
 */
export class TomlLines {
  readonly #lines = new Map<string, number>();

  constructor(text: string) {
    let section: readonly string[] = [];
    let closing: string | undefined;
    for (const [index, content] of text.split(/\r?\n/).entries()) {
      if (closing !== undefined) {
        if (content.includes(closing)) closing = undefined;
        continue;
      }
      const header = /^[ \t]*\[{1,2}(.*)$/.exec(content);
      const found = header === null ? keyAtFront(content, "=") : keyAtFront(header[1] ?? "", "]");
      if (found === undefined) continue;
      if (header !== null) section = found.path;
      const path = header === null ? [...section, ...found.path] : found.path;
      this.#remember(path, index + 1);
      const [quote] = MULTI_LINE.exec(found.rest) ?? [];
      if (quote !== undefined && found.rest.split(quote).length === 2) closing = quote;
    }
  }

  /** Of the key, else of the nearest table around it. */
  of(path: readonly string[]): number | undefined {
    for (let length = path.length; length > 0; length--) {
      const line = this.#lines.get(JSON.stringify(path.slice(0, length)));
      if (line !== undefined) return line;
    }
    return undefined;
  }

  #remember(path: readonly string[], line: number): void {
    const key = JSON.stringify(path);
    if (!this.#lines.has(key)) this.#lines.set(key, line);
  }
}

/** `a."b.c".d = …` as its parts, when `end` follows them. */
function keyAtFront(text: string, end: "=" | "]"): { path: string[]; rest: string } | undefined {
  const path: string[] = [];
  let rest = text;
  for (;;) {
    const [all, bare, escaped, literal] = KEY_PART.exec(rest) ?? [];
    if (all === undefined) return undefined;
    path.push(bare ?? literal ?? unescaped(escaped ?? ""));
    rest = rest.slice(all.length);
    if (rest.startsWith(end)) return { path, rest: rest.slice(1) };
    if (!rest.startsWith(".")) return undefined;
    rest = rest.slice(1);
  }
}

function unescaped(quoted: string): string {
  try {
    return String(JSON.parse(quoted));
  } catch {
    // TOML knows escapes that JSON does not: no key of ours has any.
    return quoted.slice(1, -1);
  }
}
