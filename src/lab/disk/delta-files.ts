import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import writeFileAtomic from "write-file-atomic";
import { NotFoundError } from "../../errors.js";
import type { VmdkDescriptor } from "../../image/vmdk/descriptor.js";
import { formatDescriptor } from "../../image/vmdk/descriptor-text.js";
import { bytes, bytesToSectors, sectors } from "../../units.js";
import { DeltaLink } from "./delta-link.js";
import type { DiskLink, OpenLink, ReadDescriptor } from "./link.js";

/** Bytes copied at a time when a delta is merged into its parent. */
const MERGE_CHUNK_BYTES = 4 * 1024 * 1024;

/**
 * Writes the files of an empty delta on top of `parent`.
 * @param base path of the chain's first descriptor, after which deltas are named
 */
export async function createDelta(base: string, parent: OpenLink, capacity: number): Promise<ReadDescriptor> {
  const folder = dirname(base);
  const name = await deltaName(base);
  const size = bytesToSectors(bytes(capacity));
  await DeltaLink.create(join(folder, `${name}-delta.vmdk`), size);
  const descriptor: VmdkDescriptor = {
    version: 1,
    encoding: "UTF-8",
    // A delta that nothing was written to has its parent's content.
    cid: parent.descriptor.cid,
    parentCid: parent.descriptor.cid,
    createType: "vmfsSparse",
    parentFileNameHint: basename(parent.link.files.descriptor),
    extents: [{ access: "RW", sectors: size, type: "VMFSSPARSE", name: `${name}-delta.vmdk`, offset: sectors(0) }],
    ddb: new Map([["ddb.longContentID", longContentId(parent.descriptor)]]),
  };
  const path = join(folder, `${name}.vmdk`);
  await writeFileAtomic(path, formatDescriptor(descriptor), { mode: 0o600 });
  return { path, descriptor };
}

/** `disk-000001`, the first number that is free in the folder. */
async function deltaName(base: string): Promise<string> {
  const stem = basename(base, ".vmdk");
  const taken = new Set(await readdir(dirname(base)));
  // Bound: the names have six digits.
  for (let number = 1; number < 1_000_000; number++) {
    const name = `${stem}-${String(number).padStart(6, "0")}`;
    if (!taken.has(`${name}.vmdk`) && !taken.has(`${name}-delta.vmdk`)) return name;
  }
  throw new NotFoundError(`Cannot find a free name for a delta of ${stem}`);
}

function longContentId(parent: VmdkDescriptor): string {
  return parent.ddb.get("ddb.longContentID") ?? parent.cid.toString(16).padStart(32, "0");
}

/** Copies everything that one link holds into another. */
export async function copyLink(from: DiskLink, to: DiskLink): Promise<void> {
  for (const range of await from.allocated()) {
    for (let done = 0; done < range.length;) {
      const chunk = new Uint8Array(Math.min(MERGE_CHUNK_BYTES, range.length - done));
      await from.overlay(chunk, range.start + done);
      await to.write(chunk, range.start + done);
      done += chunk.length;
    }
  }
}
