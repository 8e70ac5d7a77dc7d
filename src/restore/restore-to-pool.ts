import type { Config } from "../config.js";
import type { BlockSource } from "../block-source.js";
import { UsageError } from "../errors.js";
import type { Logger } from "../log.js";
import { chooseServer, prepareConnection, serverAccess, type ServerChoice } from "../mount/connection.js";
import { StatePaths } from "../mount/state-paths.js";
import { bytes, MIB } from "../units.js";
import { connectXapi } from "../xen/connect.js";
import { type ImportedVm, importArchive } from "../xen/import/import-archive.js";
import { refuseUnknownPacking } from "../xen/import/packing-gate.js";
import { chooseStorage } from "../xen/import/storage-choice.js";
import { refuseNewer } from "../xen/import/version-gate.js";
import { translating } from "../xen/xapi/fault-errors.js";
import { isXenUrl } from "../xen-url.js";
import { ImportLog } from "./import-log.js";
import { openPoolArchive } from "./pool-archive.js";

export interface RestoreOptions {
  readonly config: Config;
  readonly choice: ServerChoice;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly onProgress: (what: string, percent: number | undefined) => void;
  /** Name or UUID of a storage repository; undefined = the pool's default. */
  readonly storage: string | undefined;
  /** Of the new VM; undefined = as it was. */
  readonly name: string | undefined;
}

export interface RestoreResult {
  readonly vms: readonly ImportedVm[];
  readonly storage: { readonly name: string; readonly uuid: string };
  /** That were sent. */
  readonly bytes: number;
}

/** Sent at a time, and read ahead while the one before is on its way. */
const CHUNK_BYTES = 4 * MIB;
/** Behind the last disk an archive has a sum and some zeros: as much of its end may be missing, and the import be complete. */
const TAIL_BYTES = MIB;

/**
 * Imports a backup as a new VM into a Xen pool. No VM that exists is touched; what fails leaves nothing, and what dies
 * leaves a record in `state.dir` by which `vmmount gc` finds the rest.
 * @throws what is wrong with the backup, the choice of storage, or the pool
 */
export async function restoreToPool(path: string, options: RestoreOptions): Promise<RestoreResult> {
  const { config, choice, logger, signal, onProgress } = options;
  const server = chooseServer(config, undefined, choice);
  if (!isXenUrl(server.url)) {
    throw new UsageError(`Cannot restore to "${server.url}": only Xen pools are restored to`, {
      hint: "Give --server xen://host.example.org, or the name of a pool that is configured",
    });
  }
  const connection = await prepareConnection(server, choice);
  await using xapi = await connectXapi({ ...serverAccess(connection), logger, signal });
  await using archive = await openPoolArchive(path, xapi.facts.xapi, signal);
  return await translating(`Cannot restore "${path}" to ${connection.url}`, async () => {
    if (archive.writtenFor !== undefined) refuseNewer(archive.writtenFor, xapi.facts);
    await refuseUnknownPacking(archive.packing, xapi, { signal });
    const { source, virtualBytes } = archive;
    const storage = await chooseStorage(options.storage, { virtualBytes, dataBytes: source.size }, xapi, { signal });
    logger.info(`Sending ${source.size} bytes to host "${storage.host.name}", storage repository "${storage.name}"`);
    const onSent = (sent: number): void => {
      onProgress("Sending", Math.floor((sent / source.size) * 100));
    };
    await using log = new ImportLog(new StatePaths(config.settings), { url: connection.url, backup: path });
    const { mark } = log;
    const chunks = chunksOf(source, { onSent, beforeTheEnd: () => log.sent() }, signal);
    const request = { archive: { length: source.size, chunks }, storage, name: options.name, mark, notes: log };
    const vms = await importArchive(request, xapi, { signal, logger });
    return { vms, storage: { name: storage.name, uuid: storage.uuid }, bytes: source.size };
  });
}

interface Sending {
  readonly onSent: (sent: number) => void;
  /** Once, before what could be the last piece that the server waits for: it needs none of the zeros that end an archive. */
  readonly beforeTheEnd: () => Promise<void>;
}

async function* chunksOf(
  source: BlockSource,
  { onSent, beforeTheEnd }: Sending,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  const read = async (at: number): Promise<Uint8Array> => {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, source.size - at));
    await source.read(chunk, bytes(at), { signal });
    return chunk;
  };
  let next = source.size === 0 ? undefined : read(0);
  let isEnding = false;
  for (let at = 0; next !== undefined;) {
    const chunk = await next;
    at += chunk.length;
    if (!isEnding && at > source.size - TAIL_BYTES) {
      isEnding = true;
      await beforeTheEnd();
    }
    next = at < source.size ? read(at) : undefined;
    // Whoever stops taking chunks leaves it: its failure is nobody's then.
    next?.catch(() => undefined);
    yield chunk;
    onSent(at);
  }
}
