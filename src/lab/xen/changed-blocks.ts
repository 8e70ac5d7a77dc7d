import { createHash } from "node:crypto";
import { open, readFile, rm, writeFile } from "node:fs/promises";
import { XapiFault } from "./fault.js";
import { NULL_REF, textOf } from "./value.js";
import type { VdiStore } from "./vdi-store.js";
import type { XenPool } from "./xen-pool.js";

/** What one bit of the map stands for. */
const BLOCK_BYTES = 64 * 1024;
/** Of one block's digest, in the file that stays when a snapshot's data goes. */
const DIGEST_BYTES = 16;

/**
 * The blocks in which two disks of one chain differ, as base64 of a bitmap, most significant bit first. The lab compares
 * their bytes, where a real host has kept a log of writes.
 * @throws XapiFault VDI_IN_USE, SR_BACKEND_FAILURE_460
 */
export async function changedBlocks(pool: XenPool, from: string, to: string): Promise<string> {
  const { database, store } = pool;
  if (from === to || originOf(pool, from) !== originOf(pool, to) || !areTracked(pool, [from, to])) {
    throw new XapiFault("SR_BACKEND_FAILURE_460", "", "Failed to calculate changed blocks for given VDIs.", "");
  }
  const attached = pool.attachments
    .holders(to)
    .filter((vbd) => database.row("VM", database.text("VBD", vbd, "VM"))["is_a_snapshot"] !== true);
  if (attached.length > 0) throw new XapiFault("VDI_IN_USE", to, "list_changed_blocks");
  const [before, after] = await Promise.all([blockHashes(store, from), blockHashes(store, to)]);
  const blocks = Math.ceil(store.size(to) / BLOCK_BYTES);
  const bitmap = Buffer.alloc(Math.ceil(blocks / 8));
  for (let block = 0; block < blocks; block++) {
    if (digest(before, block).equals(digest(after, block))) continue;
    bitmap[block >> 3] = (bitmap[block >> 3] ?? 0) | (0x80 >> (block & 7));
  }
  return bitmap.toString("base64");
}

/** Frees a snapshot's data and keeps what comparing needs. */
export async function keepBlockHashes(store: VdiStore, vdi: string): Promise<void> {
  const hashes = await blockHashes(store, vdi);
  await writeFile(hashesPath(store, vdi), hashes, { mode: 0o600 });
  await using file = await open(store.path(vdi), "r+");
  await file.truncate(0);
  await file.truncate(store.size(vdi));
}

export async function forgetBlockHashes(path: string): Promise<void> {
  await rm(`${path}.blocks`, { force: true });
}

async function blockHashes(store: VdiStore, vdi: string): Promise<Buffer> {
  const kept = await readFile(hashesPath(store, vdi)).catch(() => undefined);
  if (kept !== undefined) return kept;
  await using file = await store.open(vdi);
  const digests: Buffer[] = [];
  const block = Buffer.alloc(BLOCK_BYTES);
  for (let at = 0; at < store.size(vdi); at += BLOCK_BYTES) {
    const { bytesRead } = await file.read(block, 0, BLOCK_BYTES, at);
    digests.push(createHash("md5").update(block.subarray(0, bytesRead)).digest());
  }
  return Buffer.concat(digests);
}

function hashesPath(store: VdiStore, vdi: string): string {
  return `${store.path(vdi)}.blocks`;
}

function digest(hashes: Buffer, block: number): Buffer {
  return hashes.subarray(block * DIGEST_BYTES, (block + 1) * DIGEST_BYTES);
}

/** The disk of which a chain of snapshots is. */
function originOf({ database }: XenPool, vdi: string): string {
  const of = textOf(database.row("VDI", vdi)["snapshot_of"]);
  return of === NULL_REF || of === "" ? vdi : of;
}

function areTracked({ database }: XenPool, vdis: readonly string[]): boolean {
  return vdis.every((vdi) => database.row("VDI", vdi)["cbt_enabled"] === true);
}
