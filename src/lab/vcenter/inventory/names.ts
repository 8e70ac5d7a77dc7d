/** vSphere keeps `%`, `/` and `\` in names as `%25`, `%2f`, `%5c` (API reference, ManagedEntity.name). */
export function escapeName(name: string): string {
  return name.replaceAll("%", "%25").replaceAll("/", "%2f").replaceAll("\\", "%5c");
}

/** Names compare in the escaped form, whatever the case of the hex digits. */
export function sameName(stored: string, asked: string): boolean {
  return stored === asked.replace(/%(2F|5C)/g, (escape) => escape.toLowerCase());
}
