import { ArchiveContents, type ImportedObject } from "../archive/archive-contents.js";
import { EndOfStream } from "../archive/byte-reader.js";
import { chunkHashes } from "../archive/chunk-hash.js";
import { ChunkReader } from "../archive/chunk-reader.js";
import { importError } from "../archive/import-failure.js";
import { openArchive, type OpenArchive } from "../archive/open-archive.js";
import { readOva } from "../archive/ova-reader.js";
import { isThick } from "../computed.js";
import { XapiFault } from "../fault.js";
import type { HandlerCall } from "../http-handlers.js";
import { during } from "../operations.js";
import { isSince } from "../profile.js";
import type { Value } from "../value.js";
import { askedOrDefaultSr, isAsked } from "./asked-objects.js";
import { progressOf, stopped } from "./download.js";
import { findDuplicates, removeReplaced } from "./import/duplicates.js";
import { ImportedObjects } from "./import/imported-objects.js";
import { withDisk } from "./plugged-disk.js";
import { assertServedHere, noHost } from "./serving-host.js";
import { beginUpload } from "./upload.js";

/** What an archive with a transfer coding fails with. */
export const CODED_ARCHIVE = {
  codedStatus: "HTTP/1.1 403 Forbidden",
  codedFault: new XapiFault("IMPORT_ERROR_CANNOT_HANDLE_CHUNKED"),
};

/** PUT /import: VMs with their disks from one archive. The result is a set of VMs. */
export async function importMachines(call: HandlerCall): Promise<Value> {
  const { pool } = call;
  const sr = askedOrDefaultSr(call);
  if (pool.database.text("SR", sr, "type") === "iso") throw new XapiFault("SR_OPERATION_NOT_SUPPORTED", sr);
  await assertServedHere(call, [sr], noHost());
  const body = await beginUpload(call, CODED_ARCHIVE);
  const refs = await asImport(async () => {
    const archive = await openArchive(body, isSince(pool.profile.name, "8.2"));
    return importArchive(call, archive, sr);
  });
  call.answer.end();
  return refs;
}

/** Everything that goes wrong in an import has a code of its own, or is an IMPORT_ERROR. */
export async function asImport<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof XapiFault) throw error;
    if (error instanceof EndOfStream) throw new XapiFault("IMPORT_ERROR_PREMATURE_EOF");
    throw importError(error instanceof Error ? `${error.name}("${error.message}")` : "Exit");
  }
}

async function importArchive(call: HandlerCall, archive: OpenArchive, sr: string): Promise<Value> {
  const { pool, task } = call;
  const contents = new ArchiveContents(readOva(archive.ova, pool.profile), pool.profile.name);
  const isForced = isAsked(call, "force");
  const identity = isAsked(call, "restore") ? "kept" : "new";
  const { skipped, replaced } =
    identity === "kept"
      ? findDuplicates(pool, contents, isForced)
      : { skipped: new Set<ImportedObject>(), replaced: [] };
  const vms = contents.of("VM").filter((vm) => !skipped.has(vm));
  const objects = new ImportedObjects({ pool, contents, identity, task: task.ref, sr });
  try {
    removeReplaced(pool, replaced);
    const refs = await objects.create(vms);
    noteCreation(call);
    await locked(call, refs, () => readDisks(call, { archive, contents, objects, sr, isForced }));
    if (call.signal.aborted && task.signal.aborted) throw stopped(task.signal);
    return refs;
  } catch (error) {
    const isSkipped = call.actions.some(({ kind }) => kind === "skipUndo");
    if (!isForced && !isSkipped) await objects.undo();
    throw error;
  }
}

function noteCreation({ pool: { database }, task }: HandlerCall): void {
  if (!database.has("task", task.ref)) return;
  const config = database.row("task", task.ref)["other_config"] as Readonly<Record<string, string>>;
  database.update("task", task.ref, { other_config: { ...config, object_creation: "complete" } });
}

/** The new VMs show the operation for as long as their disks are filled. */
async function locked(call: HandlerCall, refs: readonly string[], run: () => Promise<void>): Promise<void> {
  const [ref, ...others] = refs;
  if (ref === undefined) return run();
  const operation = { className: "VM", ref, operation: "import", task: call.task.ref } as const;
  await during(call.pool.database, operation, () => locked(call, others, run));
}

interface DiskReading {
  readonly archive: OpenArchive;
  readonly contents: ArchiveContents;
  readonly objects: ImportedObjects;
  readonly sr: string;
  readonly isForced: boolean;
}

/** One disk after the other, each plugged while it is written. What stands behind the last one is never read. */
async function readDisks(call: HandlerCall, { archive, contents, objects, sr, isForced }: DiskReading): Promise<void> {
  const { pool } = call;
  const { bytes, tar } = archive;
  const isNew = isSince(pool.profile.name, "8.2");
  const { checksum, xxhash } = await chunkHashes();
  const hashes = isNew ? { checksum, xxhash } : { checksum };
  const reader = new ChunkReader({ bytes, tar, hashes, readsHashBeforePadding: isNew, isForced });
  const disks = contents.disks();
  const total = disks.reduce((sum, { fields }) => sum + Number(fields["virtual_size"]), 0);
  const written = progressOf(call, total);
  const writesZeros = isThick(pool.database.text("SR", sr, "type"));
  for (const vdi of disks) {
    await withDisk(call, objects.disk(vdi), "RW", async (disk) => {
      const { sizeBytes } = disk;
      const write = async (at: number, data: Uint8Array): Promise<void> => {
        if (call.task.signal.aborted) throw stopped(call.task.signal);
        await disk.write(at, data);
        written(data.length);
      };
      const virtualBytes = Number(vdi.fields["virtual_size"]);
      await reader.read({ directory: vdi.id, virtualBytes, disk: { sizeBytes, write }, writesZeros });
    });
  }
}
