import { IntegrityError } from "../errors.js";

/** `[datastore] folder/file`, in the server's escaped form. */
export interface DatastorePath {
  readonly datastore: string;
  /** Relative to the datastore's top, without leading slash. */
  readonly path: string;
}

/** @throws IntegrityError for text of another form, or a path that leads upward */
export function parseDatastorePath(text: string): DatastorePath {
  const end = text.indexOf("] ");
  const path = text.slice(end + 2).replace(/^\/+/, "");
  if (!text.startsWith("[") || end < 2 || path === "") {
    throw new IntegrityError(`Cannot use datastore path ${JSON.stringify(text)}: it is not "[datastore] folder/file"`);
  }
  if (path.split("/").some((segment) => segment === ".." || segment === ".") || path.includes("\0")) {
    throw new IntegrityError(`Cannot use datastore path ${JSON.stringify(text)}: it leads out of its folder`);
  }
  return { datastore: text.slice(1, end), path };
}

export function formatDatastorePath({ datastore, path }: DatastorePath): string {
  return `[${datastore}] ${path}`;
}

/** The file of that bare name in the same folder. @throws IntegrityError for a name that is not bare */
export function sibling({ datastore, path }: DatastorePath, name: string): DatastorePath {
  if (name === "" || name === "." || name === ".." || /[/\\\0]/.test(name)) {
    throw new IntegrityError(`Cannot use ${JSON.stringify(name)} beside "${path}": it is not a bare file name`);
  }
  return { datastore, path: `${path.slice(0, path.lastIndexOf("/") + 1)}${name}` };
}

/** How datacenter and datastore names go into the query. */
export type NameEncoding = "once" | "twice";

/**
 * The path and query of a datastore file on the server's `/folder` service. vCenter decodes the two names twice (so
 * names with `+ % /` must be encoded twice), ESXi and some older servers once.
 */
export function folderUrl(file: DatastorePath, datacenterPath: string | undefined, encoding: NameEncoding): string {
  const encode = (name: string): string =>
    encoding === "once" ? encodeURIComponent(name) : encodeURIComponent(encodeURIComponent(name));
  const path = file.path.split("/").map(encodeURIComponent).join("/");
  const datacenter = datacenterPath === undefined ? "" : `dcPath=${encode(datacenterPath)}&`;
  return `/folder/${path}?${datacenter}dsName=${encode(file.datastore)}`;
}
