import koffi from "koffi";
import { AuthError, DiskIoError, MissingCapabilityError } from "../errors.js";
import { ALLOCATION } from "../nbd/protocol.js";
import type { AllocationExtent } from "../nbd/transmission.js";
import { bytes, type Bytes, bytesToSectors, SECTOR_BYTES, type Sectors, sectors } from "../units.js";
import { Block, BLOCK_LIST_HEAD_BYTES } from "./layouts.js";
import type { Pointer, Vddk } from "./library.js";
import { blamesLogin, vixCodeOf } from "./vix-error.js";

/** VIXDISKLIB_MIN_CHUNK_SIZE: allocation is told in units of 64 KiB and not finer. */
const CHUNK = 128;
/** VIXDISKLIB_MAX_CHUNK_NUMBER: one question covers at most 32 GiB. */
const CHUNKS_MAX = 512 * 1024;

/** In sectors, from `start` on. */
interface Answer {
  readonly start: number;
  readonly end: number;
  readonly blocks: readonly { readonly start: number; readonly end: number }[];
}

/**
 * Where a disk has data, by QueryAllocatedBlocks. Questions are slow on a busy host (seconds), so each covers as much as it may,
 * and the last answer is kept: who walks through the disk asks for little at a time.
 */
export class AllocatedBlocks {
  readonly #vddk: Vddk;
  readonly #capacity: Sectors;
  #last: Answer | undefined;

  private constructor(vddk: Vddk, capacity: Bytes) {
    this.#vddk = vddk;
    this.#capacity = bytesToSectors(capacity);
  }

  /**
   * Tries with the first chunk: old hosts, NFS and some virtual volumes cannot tell.
   * @returns undefined when everything must count as data
   */
  static async probe(vddk: Vddk, handle: Pointer, capacity: Bytes): Promise<AllocatedBlocks | undefined> {
    if (!vddk.has("QueryAllocatedBlocks") || !vddk.has("FreeBlockList")) return undefined;
    const blocks = new AllocatedBlocks(vddk, capacity);
    if (blocks.#capacity < CHUNK) return undefined;
    try {
      await blocks.#ask(handle, sectors(0), sectors(CHUNK));
      return blocks;
    } catch (error) {
      if (isAboutHolesOnly(error)) return undefined;
      throw error;
    }
  }

  /** Forgets what was learned. */
  forget(): void {
    this.#last = undefined;
  }

  /**
   * From `at` on, adjacent, at least one.
   * @param length whole sectors
   * @throws DiskIoError
   */
  async extents(handle: Pointer, at: Bytes, length: number): Promise<AllocationExtent[]> {
    const from = at / SECTOR_BYTES;
    const whole = this.#capacity - (this.#capacity % CHUNK);
    // What is behind the last whole chunk cannot be asked for.
    if (from >= whole) return [{ length, flags: 0 }];
    if (this.#last === undefined || from < this.#last.start || from >= this.#last.end) {
      const start = from - (from % CHUNK);
      const count = Math.min(whole - start, CHUNKS_MAX * CHUNK);
      this.#last = await this.#ask(handle, sectors(start), sectors(count));
    }
    return between(this.#last, from, Math.min(this.#last.end, from + length / SECTOR_BYTES));
  }

  async #ask(handle: Pointer, start: Sectors, count: Sectors): Promise<Answer> {
    const out: [Pointer] = [null];
    const action = `Cannot ask for the allocated blocks of ${count} sectors at ${start}`;
    this.#vddk.check(action, await this.#vddk.callAside("QueryAllocatedBlocks", handle, start, count, CHUNK, out));
    const [list] = out;
    // "No blocks" is a list as well; without one nothing is known, and nothing may count as a hole.
    if (list === null) throw new DiskIoError(`${action}: there is no answer`);
    try {
      const blocks = decoded(list);
      if (blocks === undefined || !isSorted(blocks, start, start + count)) {
        throw new DiskIoError(`${action}: the answer makes no sense`);
      }
      return { start, end: start + count, blocks };
    } finally {
      this.#vddk.call("FreeBlockList", list);
    }
  }
}

/** The disk is open: what cannot be told ("not supported"), or not to this account, may be read all the same. A lost login is another thing. */
function isAboutHolesOnly(error: unknown): boolean {
  if (error instanceof AuthError) return !blamesLogin(vixCodeOf(error), "has worked");
  return error instanceof DiskIoError || error instanceof MissingCapabilityError;
}

/** @returns undefined for more blocks than there can be */
function decoded(list: Pointer): Answer["blocks"] | undefined {
  const found = koffi.decode(list, "uint32_t") as number;
  // koffi has no arrays of nothing.
  if (found === 0) return [];
  if (found > CHUNKS_MAX) return undefined;
  const raw = koffi.decode(list, BLOCK_LIST_HEAD_BYTES, koffi.array(Block, found)) as {
    readonly offset: number | bigint;
    readonly length: number | bigint;
  }[];
  return raw.map(({ offset, length }) => ({ start: Number(offset), end: Number(offset) + Number(length) }));
}

function isSorted(blocks: Answer["blocks"], from: number, to: number): boolean {
  let end = from;
  return blocks.every((block) => {
    const isNext = block.start >= end && block.end > block.start && block.end <= to;
    end = block.end;
    return isNext;
  });
}

function between({ blocks }: Answer, from: number, to: number): AllocationExtent[] {
  const extents: AllocationExtent[] = [];
  let at = from;
  const add = (until: number, flags: number): void => {
    if (until > at) extents.push({ length: bytes((until - at) * SECTOR_BYTES), flags });
    at = Math.max(at, until);
  };
  for (const block of blocks) {
    if (block.end <= from) continue;
    if (block.start >= to) break;
    add(Math.min(block.start, to), ALLOCATION.HOLE | ALLOCATION.ZERO);
    add(Math.min(block.end, to), 0);
  }
  add(to, ALLOCATION.HOLE | ALLOCATION.ZERO);
  return extents;
}
