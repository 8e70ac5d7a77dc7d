/** What a URL below `/folder` points at. */
export type FolderUrl =
  | { readonly kind: "datacenters" }
  | { readonly kind: "datastores" }
  | { readonly kind: "path"; readonly datastore: string; readonly segments: readonly string[] }
  | { readonly kind: "missing" };

/**
 * Reads `/folder/PATH?dcPath=…&dsName=…`. Path segments are percent-encoded once. vCenter decodes the two names twice,
 * and since a name without special characters looks the same either way, both forms are tried. `+` is no space.
 */
export function parseFolderUrl(
  rawUrl: string,
  isDatacenter: (name: string) => boolean,
  datastoreOf: (name: string) => string | undefined,
): FolderUrl {
  const question = rawUrl.indexOf("?");
  const path = question < 0 ? rawUrl : rawUrl.slice(0, question);
  const query = parseQuery(question < 0 ? "" : rawUrl.slice(question + 1));
  const segments = path
    .split("/")
    .slice(2)
    .filter((segment) => segment !== "")
    .map(decodeOnce);
  const dcPath = query.get("dcPath");
  const dsName = query.get("dsName");
  if (dcPath === undefined)
    return dsName === undefined && segments.length === 0 ? { kind: "datacenters" } : { kind: "missing" };
  if (!readings(dcPath).some(isDatacenter)) return { kind: "missing" };
  if (dsName === undefined) return segments.length === 0 ? { kind: "datastores" } : { kind: "missing" };
  const datastore = readings(dsName)
    .map(datastoreOf)
    .find((found) => found !== undefined);
  if (datastore === undefined || !segments.every(isPlainSegment)) return { kind: "missing" };
  return { kind: "path", datastore, segments: segments.filter((segment) => segment !== undefined) };
}

function parseQuery(text: string): Map<string, string> {
  const query = new Map<string, string>();
  for (const part of text.split("&")) {
    const equals = part.indexOf("=");
    const value = equals < 0 ? undefined : decodeOnce(part.slice(equals + 1));
    if (value !== undefined) query.set(part.slice(0, equals), value);
  }
  return query;
}

/** The value as decoded once, and as decoded twice where that is possible. */
function readings(once: string): string[] {
  const twice = decodeOnce(once);
  return twice === undefined || twice === once ? [once] : [twice, once];
}

function decodeOnce(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    // A stray "%": such a name does not exist in this reading.
    return undefined;
  }
}

/** Nothing that leads elsewhere: dots, separators that were hidden by encoding, NUL. */
function isPlainSegment(segment: string | undefined): boolean {
  return segment !== undefined && segment !== "." && segment !== ".." && !/[/\\\0]/.test(segment);
}
