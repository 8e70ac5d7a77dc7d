import { setTimeout as sleep } from "node:timers/promises";
import { MIB } from "../../../units.js";
import { diskChunks } from "../archive/chunk-writer.js";
import type { ReadableDisk } from "../archive/disk-bytes.js";
import { TAR_END_BYTES } from "../archive/tar-header.js";
import { VHD_BLOCK_BYTES, VHD_BYTES_MAX } from "../archive/vhd-layout.js";
import { vhdStream } from "../archive/vhd-writer.js";
import { XapiFault } from "../fault.js";
import type { HandlerCall } from "../http-handlers.js";
import { isSince } from "../profile.js";
import { askedVdi } from "./asked-objects.js";
import { beginDownload, sendBody } from "./download.js";
import { chunkStyle } from "./export.js";
import { fromDisk } from "./plugged-disk.js";
import { refuse } from "./refuse.js";
import { assertServedHere, noHost } from "./serving-host.js";

const TYPES: Readonly<Record<string, string>> = {
  raw: "application/octet-stream",
  vhd: "application/vhd",
  tar: "application/x-tar",
};
/** Of a raw disk, read and sent at a time. */
const PIECE_BYTES = MIB;

/** GET /export_raw_vdi: one disk, whole or as what differs from another. */
export async function exportRawVdi(call: HandlerCall): Promise<string> {
  const { pool, query } = call;
  const vdi = askedVdi(call);
  if (vdi === undefined) throw new XapiFault("VDI_MISSING", "", "");
  const format = query.get("format") ?? "raw";
  const type = TYPES[format];
  if (type === undefined || (format === "tar" && !isSince(pool.profile.name, "8.2"))) {
    await refuse(call, "HTTP/1.1 404 Not Found");
    throw new XapiFault("INTERNAL_ERROR", `Unknown format ${format}`);
  }
  await assertServedHere(call, [pool.database.text("VDI", vdi, "SR")], noHost());
  await beginDownload(call, { version: "1.1", type, fileName: `${pool.database.text("VDI", vdi, "uuid")}.${format}` });
  await sendBody(call, fromDisk(call, vdi, bodyOf(call, vdi, format)));
  return "";
}

function bodyOf(call: HandlerCall, vdi: string, format: string) {
  return (disk: ReadableDisk): AsyncIterable<Uint8Array> => {
    switch (format) {
      case "vhd":
        return vhdBody(call, vdi, disk);
      case "tar":
        return tarBody(call, vdi, disk);
      default:
        return rawBody(disk);
    }
  };
}

async function* rawBody(disk: ReadableDisk): AsyncGenerator<Buffer> {
  for (let at = 0; at < disk.sizeBytes; at += PIECE_BYTES) {
    yield await disk.read(at, Math.min(PIECE_BYTES, disk.sizeBytes - at));
  }
}

async function* tarBody(call: HandlerCall, vdi: string, disk: ReadableDisk): AsyncGenerator<Buffer> {
  yield* diskChunks(disk, "vdi", await chunkStyle(call, vdi));
  yield Buffer.alloc(TAR_END_BYTES);
}

/** What cannot be a VHD is found out after the answer has begun. */
async function* vhdBody(call: HandlerCall, vdi: string, disk: ReadableDisk): AsyncGenerator<Buffer> {
  if (disk.sizeBytes > VHD_BYTES_MAX) throw new XapiFault("VDI_TOO_LARGE", vdi, String(VHD_BYTES_MAX));
  const base = askedVdi(call, "base");
  const blocks = await allocatedBlocks(call, vdi);
  if (base === undefined) {
    yield* vhdStream({ disk, blocks, basePath: undefined });
    return;
  }
  if (!isVhdBacked(call, vdi) || !isVhdBacked(call, base)) {
    throw new XapiFault("INTERNAL_ERROR", 'Failure("Cannot compute differences on non-VHD images")');
  }
  const { database } = call.pool;
  const [sr, uuid] = [database.text("VDI", base, "SR"), database.text("VDI", base, "uuid")];
  const basePath = `/var/run/sr-mount/${database.text("SR", sr, "uuid")}/${uuid}.vhd`;
  const either = new Set([...blocks, ...(await allocatedBlocks(call, base))]);
  const sorted = [...either].sort((a, b) => a - b).filter((block) => block * VHD_BLOCK_BYTES < disk.sizeBytes);
  yield* vhdStream({ disk, blocks: await differing(call, disk, base, sorted), basePath });
}

/** Images on storage for CDs are raw files; a bare device has no map, so all of it counts. */
function isVhdBacked({ pool: { database } }: HandlerCall, vdi: string): boolean {
  return database.text("SR", database.text("VDI", vdi, "SR"), "type") !== "iso";
}

async function allocatedBlocks(call: HandlerCall, vdi: string): Promise<number[]> {
  const size = call.pool.store.size(vdi);
  const ranges = isVhdBacked(call, vdi) ? await call.pool.store.allocated(vdi) : [{ start: 0, length: size }];
  const blocks = new Set<number>();
  for (const { start, length } of ranges) {
    const last = Math.floor((start + length - 1) / VHD_BLOCK_BYTES);
    for (let block = Math.floor(start / VHD_BLOCK_BYTES); block <= last; block++) blocks.add(block);
  }
  return [...blocks].sort((a, b) => a - b);
}

/** Blocks whose bytes are others than the base's. */
async function differing(
  call: HandlerCall,
  disk: ReadableDisk,
  base: string,
  blocks: readonly number[],
): Promise<number[]> {
  await using file = await call.pool.store.open(base);
  const changed: number[] = [];
  const other = Buffer.alloc(VHD_BLOCK_BYTES);
  for (const block of blocks) {
    const at = block * VHD_BLOCK_BYTES;
    const data = await disk.read(at, Math.min(VHD_BLOCK_BYTES, disk.sizeBytes - at));
    other.fill(0);
    await file.read(other, 0, data.length, at);
    if (!data.equals(other.subarray(0, data.length))) changed.push(block);
    // Other requests have their turn between two blocks.
    await sleep(0);
  }
  return changed;
}
