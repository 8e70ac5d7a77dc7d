import type { Progress } from "../hypervisor.js";
import type { Logger } from "../log.js";
import type { PoolCatalog } from "../pool-catalog.js";
import type { PoolSource } from "../pool-source.js";
import { VERSION } from "../version.js";
import type { PoolFile, PoolFiles } from "../xen/pool-sources/pool-file.js";
import type { Xapi } from "../xen/xapi/xapi.js";
import { type Connection, serverAccess } from "./connection.js";

export interface PoolSourceRequest {
  readonly connection: Connection;
  readonly source: PoolSource;
  readonly spoolDirectory: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: Progress) => void;
}

export interface FetchedPoolSource extends AsyncDisposable {
  readonly catalog: PoolCatalog;
  readonly files: readonly PoolFile[];
}

/**
 * Logs in, fetches everything, and logs out: what is there afterwards needs no server.
 * @throws what the pool, the network or the disk refuse
 */
export async function fetchPoolSource(request: PoolSourceRequest): Promise<FetchedPoolSource> {
  const { connection, source, logger, signal } = request;
  const { connectXapi } = await import("../xen/connect.js");
  const { translating } = await import("../xen/xapi/fault-errors.js");
  const createdAt = new Date().toISOString();
  await using xapi = await connectXapi({ ...serverAccess(connection), logger, signal });
  const fetched = await translating(`Cannot read /${source.kind} of ${connection.url}`, () => fetch(xapi, request));
  const { product, version, uuid } = xapi.facts;
  return {
    catalog: {
      version: 1,
      writtenBy: `vmmount ${VERSION}`,
      server: { kind: "xen", url: connection.url, product, version, instanceUuid: uuid },
      source: source.kind,
      createdAt,
      files: fetched.files.map(({ path, about, source, sha256 }) => ({
        file: path,
        about,
        bytes: source.size,
        sha256,
      })),
    },
    files: fetched.files,
    [Symbol.asyncDispose]: () => fetched[Symbol.asyncDispose](),
  };
}

async function fetch(xapi: Xapi, request: PoolSourceRequest): Promise<PoolFiles> {
  const { source } = request;
  if (source.kind === "meta-data") {
    const { fetchMetaData } = await import("../xen/pool-sources/meta-data.js");
    return await fetchMetaData(xapi, request);
  }
  const { fetchHostBackups } = await import("../xen/pool-sources/host-backup.js");
  return await fetchHostBackups(xapi, source.host, request);
}
