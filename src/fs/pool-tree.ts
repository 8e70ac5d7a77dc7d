import type { BlockSource } from "../block-source.js";
import { CATALOG_NAME } from "../catalog.js";
import { formatPoolCatalog, type PoolCatalog } from "../pool-catalog.js";
import { imageFile, memoryFile } from "./image-file.js";
import { ImageTree, type TreeFile } from "./image-tree.js";

/** They hold secrets: nobody but the owner reads them, whatever mode disks are shown with. */
const SECRET_MODE = 0o400;

export interface PoolTreeInput {
  readonly catalog: PoolCatalog;
  /** By the paths of the catalog, which have one folder at most; stays the caller's. */
  readonly sources: ReadonlyMap<string, BlockSource>;
  readonly uid: number;
  readonly gid: number;
}

/** The mount of a pool source: its manifest and its files, readable by their owner alone. */
export function poolTree({ catalog, sources, uid, gid }: PoolTreeInput): ImageTree {
  const timeMs = Date.parse(catalog.createdAt);
  const origin = `xen ${catalog.server.instanceUuid} ${catalog.source}`;
  const file = (name: string, path: string, content: TreeFile["content"]): TreeFile => ({
    kind: "file",
    name,
    identity: `${origin} ${path}`,
    content,
    timeMs,
  });
  const top = [file(CATALOG_NAME, CATALOG_NAME, memoryFile(Buffer.from(formatPoolCatalog(catalog))))];
  const folders = new Map<string, TreeFile[]>();
  for (const [path, source] of sources) {
    const [folder = "", name] = path.split(/\/(.*)/s);
    const shown = file(name ?? folder, path, imageFile(source));
    if (name === undefined) top.push(shown);
    else folders.set(folder, [...(folders.get(folder) ?? []), shown]);
  }
  const directories = [...folders].map(([name, files]) => ({
    kind: "directory" as const,
    name,
    identity: `${origin} ${name}/`,
    timeMs,
    files,
  }));
  return new ImageTree([...top, ...directories], { mode: SECRET_MODE, uid, gid, timeMs });
}
