/** By path, in the order of its UTF-16 code units: the same list on every machine, whatever its locale. */
export function sortedByPath<T extends { readonly path: string }>(entries: readonly T[]): T[] {
  return entries.toSorted((a, b) => (a.path < b.path ? -1 : a.path > b.path ? 1 : 0));
}
