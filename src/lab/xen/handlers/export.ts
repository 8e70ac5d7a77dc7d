import { archivedMachines, type ArchivedMachines } from "../archive/archived-machines.js";
import { compressed, type Compression } from "../archive/compression.js";
import { type ChunkStyle, diskChunks, tarMember } from "../archive/chunk-writer.js";
import type { ReadableDisk } from "../archive/disk-bytes.js";
import { OVA_NAME, ovaDocument } from "../archive/ova-document.js";
import type { ReferenceNumbers } from "../archive/reference-table.js";
import { TAR_END_BYTES } from "../archive/tar-header.js";
import type { Range } from "../../ranges.js";
import type { HandlerCall, HttpHandler } from "../http-handlers.js";
import { during } from "../operations.js";
import { isSince, type Profile } from "../profile.js";
import { XapiFault } from "../fault.js";
import { assertPower, assertVmAllows } from "../vm-rules.js";
import { askedVm, isAsked } from "./asked-objects.js";
import { beginDownload, progressOf, sendBody } from "./download.js";
import { fromDisk } from "./plugged-disk.js";
import { assertServedHere } from "./serving-host.js";

/** GET /export: a whole VM as one archive. */
export function exportHandler(numbers: ReferenceNumbers): HttpHandler {
  return async (call) => {
    const { pool, task } = call;
    const vm = askedVm(call);
    assertVmAllows(pool, vm, "export");
    assertPower(pool, vm, ["Halted", "Suspended"]);
    const powerState = isAsked(call, "preserve_power_state") ? "kept" : "halted";
    const archive = archivedMachines(pool.database, [vm], { powerState, snapshots: "hidden" }, numbers);
    const srs = archive.disks.map(({ vdi }) => pool.database.text("VDI", vdi, "SR"));
    await assertServedHere(call, srs, new XapiFault("VM_REQUIRES_SR", vm, srs[0] ?? ""));
    await during(pool.database, { className: "VM", ref: vm, operation: "export", task: task.ref }, async () => {
      const head = { version: "1.0", type: "application/octet-stream", fileName: "export.xva" } as const;
      await beginDownload(call, head);
      await sendBody(call, compressed(members(call, archive), compressionOf(call)));
    });
    return "";
  };
}

/** Anything that is no known compression is none; zstd came with 8.1. */
function compressionOf({ query, pool }: HandlerCall): Compression {
  switch (query.get("use_compression")) {
    case "true":
    case "gzip":
      return "gzip";
    case "zstd":
      return isSince(pool.profile.name, "8.2") ? "zstd" : "none";
    default:
      return "none";
  }
}

async function* members(call: HandlerCall, { objects, disks }: ArchivedMachines): AsyncGenerator<Uint8Array> {
  const { pool } = call;
  yield* ovaMember(pool.profile, ovaDocument(pool.profile, objects));
  const total = disks.reduce((sum, { vdi }) => sum + pool.store.size(vdi), 0);
  const read = progressOf(call, total);
  for (const { vdi, id } of disks) {
    const style = await chunkStyle(call, vdi);
    yield* fromDisk(call, vdi, (disk) => diskChunks(counted(disk, read), id, style));
  }
  yield Buffer.alloc(TAR_END_BYTES);
}

export function ovaMember(profile: Profile, document: Buffer): Buffer[] {
  const isNew = isSince(profile.name, "8.3");
  return tarMember(OVA_NAME, document, headerMode(profile), isNew ? Math.floor(Date.now() / 1000) : 0);
}

/** How this release, and the rules, want the chunks of a disk. */
export async function chunkStyle({ pool }: HandlerCall, vdi: string): Promise<ChunkStyle> {
  const { exportKeepAliveChunks, exportChunks } = pool.rules.settings;
  const ranges = exportChunks === "allocated" ? await pool.store.allocated(vdi) : undefined;
  return {
    hash: pool.profile.chunkDigest,
    mode: headerMode(pool.profile),
    keepAliveChunks: exportKeepAliveChunks === 0 ? undefined : exportKeepAliveChunks,
    isAllocated: ranges === undefined ? undefined : (at, length) => touches(ranges, at, length),
  };
}

/** Of headers: the tar library of xapi 23 writes one, the older ones none. */
function headerMode({ name }: Profile): number {
  return isSince(name, "8.3") ? 0o400 : 0;
}

function touches(ranges: readonly Range[], at: number, length: number): boolean {
  return ranges.some((range) => range.start < at + length && range.start + range.length > at);
}

function counted(disk: ReadableDisk, read: (bytes: number) => void): ReadableDisk {
  return {
    sizeBytes: disk.sizeBytes,
    read: (at, length) => {
      read(length);
      return disk.read(at, length);
    },
  };
}
