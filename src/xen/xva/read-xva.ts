import type { BlockSource } from "../../block-source.js";
import { IntegrityError, MissingCapabilityError } from "../../errors.js";
import { printable } from "../../printable.js";
import { bytes, type Bytes } from "../../units.js";
import { expectedDisks } from "./expected-disks.js";
import { identifyArchive } from "./identify.js";
import { OVA_NAME } from "./layout.js";
import { MemberWalk, type StoredChunk } from "./member-walk.js";
import { type Ova, parseOva } from "./ova.js";
import { OVA_XML_BYTES_MAX } from "./rpc-xml.js";
import { type ChunkRun, StoredDisk } from "./stored-disk.js";
import { TAR_BLOCK_BYTES } from "./tar-header.js";

export interface ArchivedDisk {
  /** Of its VDI in ova.xml. */
  readonly id: string;
  /** Its bytes; disposing it leaves the archive open. */
  readonly source: StoredDisk;
}

export interface XvaContents {
  readonly ovaXml: Uint8Array;
  readonly ova: Ova;
  /** In the order of the archive. */
  readonly disks: readonly ArchivedDisk[];
}

/** Runs of chunks kept per archive: each gap and each odd chunk begins one, some 100 bytes. */
const RUNS_MAX = 1_000_000;

/**
 * Finds out where in a plain archive each disk's bytes are, whoever wrote it: steps from header to header as an importer
 * does and reads no data. Hashes are checked by `StoredDisk.check`.
 * @throws MissingCapabilityError for a packed archive; IntegrityError for one that is damaged, cut off, or no archive
 */
export async function readXva(archive: BlockSource, signal: AbortSignal): Promise<XvaContents> {
  const head = new Uint8Array(Math.min(TAR_BLOCK_BYTES, archive.size));
  await archive.read(head, bytes(0), { signal });
  const kind = identifyArchive(head);
  if (kind === "gzip" || kind === "zstd") {
    throw new MissingCapabilityError(`Cannot look into the archive: it is packed with ${kind}`, {
      hint: `Unpack it with ${kind} first`,
    });
  }
  if (kind === "other") throw new IntegrityError(`Cannot read the archive: it does not begin with ${OVA_NAME}`);
  try {
    return await walk(archive, signal);
  } catch (error) {
    if (!(error instanceof IntegrityError) || error.message.startsWith("Cannot")) throw error;
    throw new IntegrityError(`Cannot read the archive: ${error.message}`, { cause: error });
  }
}

async function walk(archive: BlockSource, signal: AbortSignal): Promise<XvaContents> {
  const members = new MemberWalk(archive, signal);
  const first = await members.header();
  if (first === undefined || first.size > OVA_XML_BYTES_MAX) {
    throw new IntegrityError(`${OVA_NAME} has ${first?.size ?? 0} bytes, more than ${OVA_XML_BYTES_MAX}`);
  }
  const ovaXml = await members.data(first.size);
  const ova = parseOva(ovaXml);
  const disks: ArchivedDisk[] = [];
  const shared = { archive, gapBytes: undefined as number | undefined, runsLeft: RUNS_MAX };
  for (const { id, size } of expectedDisks(ova)) {
    if (!Number.isSafeInteger(size) || size < 0) {
      throw new IntegrityError(`${OVA_NAME} gives no size for disk "${printable(id)}"`);
    }
    disks.push({ id, source: await readDisk(members, { id, size: bytes(size) }, shared) });
  }
  return { ovaXml, ova, disks };
}

/** @param shared.gapBytes length of the first chunk of the archive: every missing chunk of every disk counts as much */
async function readDisk(
  members: MemberWalk,
  disk: { readonly id: string; readonly size: Bytes },
  shared: { readonly archive: BlockSource; gapBytes: number | undefined; runsLeft: number },
): Promise<StoredDisk> {
  const shown = `disk "${printable(disk.id)}"`;
  const runs: ChunkRun[] = [];
  let last = -1;
  for (let position = 0; position < disk.size;) {
    const header = await members.header();
    if (header === undefined) throw new IntegrityError(`${shown} ends at ${position} of its ${disk.size} bytes`);
    if (!header.name.startsWith(`${disk.id}/`)) {
      throw new IntegrityError(`"${printable(header.name)}" stands where ${shown} goes on at ${position}`);
    }
    const chunk = await members.chunk(header);
    if (chunk.number <= last) throw new IntegrityError(`"${printable(header.name)}" is out of order`);
    shared.gapBytes ??= chunk.length;
    position += (chunk.number - last - 1) * shared.gapBytes;
    last = chunk.number;
    if (!Number.isSafeInteger(position)) throw new IntegrityError(`"${printable(header.name)}" lies beyond everything`);
    if (chunk.length === 0) continue;
    if (position >= disk.size) {
      throw new IntegrityError(`"${printable(header.name)}" lies behind the ${disk.size} bytes of ${shown}`);
    }
    if (!continues(runs.at(-1), position, chunk)) {
      if (--shared.runsLeft < 0) throw new IntegrityError(`it has more than ${RUNS_MAX} separate pieces`);
      runs.push({ position, at: chunk.at, chunkBytes: chunk.length, stride: 0, count: 1 });
    }
    position += chunk.length;
  }
  return new StoredDisk(shared.archive, disk, runs);
}

/** Takes the chunk into the run where it lies as regularly as those before. */
function continues(run: ChunkRun | undefined, position: number, chunk: StoredChunk): boolean {
  if (run?.chunkBytes !== chunk.length || position !== run.position + run.count * run.chunkBytes) return false;
  if (run.count === 1) run.stride = chunk.at - run.at;
  else if (chunk.at !== run.at + run.count * run.stride) return false;
  run.count++;
  return true;
}
