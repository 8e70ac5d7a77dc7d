import { randomBytes } from "node:crypto";
import { constants, type FileHandle, mkdir, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { BlockSource } from "../block-source.js";
import { CATALOG_NAME } from "../catalog.js";
import type { Config } from "../config.js";
import { RefusedError, UsageError, VmmountError } from "../errors.js";
import { parseLocator } from "../locator.js";
import type { Logger } from "../log.js";
import { formatPoolCatalog, type PoolCatalog } from "../pool-catalog.js";
import { poolSourceOf } from "../pool-source.js";
import { bytes, MIB } from "../units.js";
import { isXenUrl } from "../xen-url.js";
import { chooseServer, prepareConnection, type ServerChoice } from "./connection.js";
import { fetchPoolSource, type FetchedPoolSource } from "./fetch-pool-source.js";

export interface ExportOptions {
  readonly config: Config;
  readonly choice: ServerChoice;
  readonly logger: Logger;
  readonly signal: AbortSignal;
  readonly onProgress: (what: string, percent: number | undefined) => void;
}

/** Written at a time. */
const COPY_BYTES = MIB;

/**
 * Writes a pool source into a new folder: files of mode 0400 in folders of mode 0700, since they hold secrets. The folder
 * appears when all of it is on disk, or not at all.
 * @param text `SERVER:/meta-data`, `SERVER:/host-backup`, `SERVER:/host-backup/HOST`
 * @throws UsageError for what is no pool source, RefusedError for a folder that is not empty
 */
export async function exportPoolSource(text: string, where: string, options: ExportOptions): Promise<PoolCatalog> {
  const { config, choice, logger, signal } = options;
  const locator = parseLocator(text, new Set(config.servers.keys()), config.settings.lookup);
  const source = poolSourceOf(locator.form);
  if (source === undefined) {
    throw new UsageError(
      `Cannot export "${text}": it is /meta-data, /host-backup or /host-backup/HOST that is exported`,
      {
        hint: "The disks of a VM are copied from a mount: vmmount mount --help",
      },
    );
  }
  const server = chooseServer(config, locator.server, choice);
  if (!isXenUrl(server.url)) throw new UsageError(`Cannot export "${text}": "${server.url}" is no Xen pool`);
  const folder = resolve(where);
  await refuseFilled(folder);
  const connection = await prepareConnection(server, choice);
  await using fetched = await fetchPoolSource({
    connection,
    source,
    spoolDirectory: config.settings["cache.dir"],
    logger,
    signal,
    onProgress: ({ what, percent }) => {
      options.onProgress(what, percent);
    },
  });
  const partial = join(dirname(folder), `.${basename(folder)}.${randomBytes(4).toString("hex")}.partial`);
  try {
    await writeAll(partial, fetched, signal);
    await rename(partial, folder);
    await syncFolder(dirname(folder));
  } catch (cause) {
    await rm(partial, { recursive: true, force: true });
    throw cause instanceof VmmountError ? cause : cannotWrite(folder, cause);
  }
  return fetched.catalog;
}

async function refuseFilled(folder: string): Promise<void> {
  const names = await readdir(folder).catch((cause: unknown) => {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw new RefusedError(`Cannot export into "${folder}": ${(cause as Error).message}`, { cause });
  });
  if (names.length > 0) {
    throw new RefusedError(`Cannot export into "${folder}": it is not empty`, {
      hint: "Name a folder that does not exist yet",
    });
  }
}

function cannotWrite(folder: string, cause: unknown): VmmountError {
  const { code, message } = cause as NodeJS.ErrnoException;
  const exit = code === "ENOSPC" || code === "EDQUOT" ? "space" : "refused";
  return new VmmountError(`Cannot export into "${folder}": ${message}`, exit, { cause });
}

async function writeAll(folder: string, { catalog, files }: FetchedPoolSource, signal: AbortSignal): Promise<void> {
  await mkdir(folder, { mode: 0o700 });
  for (const { path, source } of files) {
    if (path.includes("/")) await mkdir(join(folder, dirname(path)), { recursive: true, mode: 0o700 });
    await writeSource(join(folder, path), source, signal);
  }
  for (const inner of new Set(files.map(({ path }) => dirname(path)))) await syncFolder(join(folder, inner));
  // Last: whoever finds it finds all that it names.
  await writeNew(join(folder, CATALOG_NAME), (file) => file.writeFile(formatPoolCatalog(catalog)));
  await syncFolder(folder);
}

async function writeSource(path: string, source: BlockSource, signal: AbortSignal): Promise<void> {
  await writeNew(path, async (file) => {
    const buffer = Buffer.alloc(COPY_BYTES);
    for (let at = 0; at < source.size; at += buffer.length) {
      const part = buffer.subarray(0, Math.min(buffer.length, source.size - at));
      await source.read(part, bytes(at), { signal });
      await file.writeFile(part);
    }
  });
}

async function writeNew(path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(
    path,
    constants.O_CREAT | constants.O_EXCL | constants.O_WRONLY | constants.O_NOFOLLOW,
    0o400,
  );
  try {
    await write(file);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
