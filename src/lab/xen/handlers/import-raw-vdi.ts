import { MIB } from "../../../units.js";
import { ByteReader, EndOfStream } from "../archive/byte-reader.js";
import { chunkHashes } from "../archive/chunk-hash.js";
import { ChunkReader } from "../archive/chunk-reader.js";
import { readBlocks } from "../archive/chunked-blocks.js";
import { isZero, type WritableDisk } from "../archive/disk-bytes.js";
import { TarReader } from "../archive/tar-reader.js";
import { readVhdStream } from "../archive/vhd-reader.js";
import { XapiFault } from "../fault.js";
import type { HandlerCall } from "../http-handlers.js";
import { newDisk } from "../new-disk.js";
import { isSince } from "../profile.js";
import { askedSr, askedVdi } from "./asked-objects.js";
import { progressOf, stopped } from "./download.js";
import { withDisk } from "./plugged-disk.js";
import { refuse } from "./refuse.js";
import { assertServedHere, noHost } from "./serving-host.js";
import { beginUpload } from "./upload.js";

/** Of a raw image, received and written at a time. */
const PIECE_BYTES = MIB;
const CODED = {
  codedStatus: "HTTP/1.1 404 Not Found",
  codedFault: new XapiFault("INTERNAL_ERROR", 'Failure("Chunked encoding not yet implemented in the import code")'),
};

/**
 * PUT /import_raw_vdi: the bytes of one disk. The result is its reference. Blocks must come with a Content-Length here, which real
 * hosts do not want: Node takes a request without one for one without a body.
 */
export async function importRawVdi(call: HandlerCall): Promise<string> {
  const { pool, query, request } = call;
  const sr = askedSr(call);
  const asked = askedVdi(call);
  const length = Number(request.headers["content-length"] ?? 0);
  if (asked === undefined && sr === undefined) {
    await refuse(call, "HTTP/1.1 400 Bad Request");
    throw new XapiFault("VDI_MISSING", "", "");
  }
  const storage = asked === undefined ? (sr ?? "") : pool.database.text("VDI", asked, "SR");
  const format = query.get("format") ?? "raw";
  if (!["raw", "vhd", "tar"].includes(format) || (format === "tar" && !isSince(pool.profile.name, "8.2"))) {
    await refuse(call, "HTTP/1.1 404 Not Found");
    throw new XapiFault("INTERNAL_ERROR", `Unknown format ${format}`);
  }
  await assertServedHere(call, [storage], noHost());
  const body = await beginUpload(call, CODED);
  const vdi = asked ?? (await newDisk(pool, storage, length, { name_label: "Imported VDI", type: "user" }));
  const isBlank = pool.store.usedBytes(vdi) === 0;
  await withDisk(call, vdi, "RW", (disk) => receive(call, new ByteReader(body), { disk, isBlank, format, length }));
  call.answer.end();
  return vdi;
}

interface Reception {
  readonly disk: WritableDisk;
  /** Whether the disk has nothing but zeros. */
  readonly isBlank: boolean;
  readonly format: string;
  /** Of the body, as the client announced it. */
  readonly length: number;
}

async function receive(
  call: HandlerCall,
  bytes: ByteReader,
  { disk, isBlank, format, length }: Reception,
): Promise<void> {
  const told = progressOf(call, length);
  const target: WritableDisk = {
    sizeBytes: disk.sizeBytes,
    write: async (at, data) => {
      if (call.task.signal.aborted) throw stopped(call.task.signal);
      told(data.length);
      if (at + data.length > disk.sizeBytes || !isBlank || !isZero(data)) await disk.write(at, data);
    },
  };
  try {
    if (format === "vhd") await readVhdStream(bytes, target);
    else if (format === "tar") await receiveTar(bytes, target);
    else if (call.query.has("chunked")) await readBlocks(bytes, target);
    else await receiveRaw(bytes, target, length);
  } catch (error) {
    if (error instanceof XapiFault) throw error;
    // What is too long for the disk, and what is too short, both are errors of its device.
    if (error instanceof EndOfStream || error instanceof RangeError)
      throw new XapiFault("VDI_IO_ERROR", "Device I/O error");
    throw new XapiFault("VDI_IO_ERROR", error instanceof Error ? error.message : "Device I/O error");
  }
}

async function receiveRaw(bytes: ByteReader, disk: WritableDisk, length: number): Promise<void> {
  for (let at = 0; at < length; at += PIECE_BYTES) {
    await disk.write(at, await bytes.take(Math.min(PIECE_BYTES, length - at)));
  }
}

async function receiveTar(bytes: ByteReader, disk: WritableDisk): Promise<void> {
  const hashes = await chunkHashes();
  const tar = new TarReader(bytes);
  const reader = new ChunkReader({ bytes, tar, hashes, readsHashBeforePadding: true, isForced: false });
  await reader.read({ directory: "vdi", virtualBytes: disk.sizeBytes, disk, writesZeros: false });
}
