export interface TomlLine {
  readonly key: string;
  readonly value: string | number;
  /** The key of config.js that it comes from, for a comment. */
  readonly from: string;
}

export interface TomlSection {
  /** As it stands between brackets; empty for the keys before all sections. */
  readonly section: string;
  readonly lines: readonly TomlLine[];
}

/** A TOML file with a comment on where each line comes from. */
export function formatToml(origin: string, sections: readonly TomlSection[]): string {
  const head = `# Imported by vmmount from ${oneLine(origin)}, a configuration of VMware Consolidated Backup.`;
  const blocks = sections
    .filter(({ lines }) => lines.length > 0)
    .map(({ section, lines }) =>
      [
        ...(section === "" ? [] : [`[${section}]`]),
        ...lines.map(({ key, value, from }) => `${key} = ${literal(value)} # ${from}`),
      ].join("\n"),
    );
  return `${[head, ...blocks].join("\n\n")}\n`;
}

function literal(value: string | number): string {
  if (typeof value === "number") return String(value);
  // JSON's escapes are among TOML's; TOML wants one more character escaped.
  return JSON.stringify(value).replaceAll("\u007f", "\\u007f");
}

/** A file's name may hold a line break. */
function oneLine(text: string): string {
  return text.replace(/[\u0000-\u001f\u007f-\u009f]/g, "_");
}
