import { randomBytes } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import pLimit from "p-limit";
import writeFileAtomic from "write-file-atomic";
import { NotFoundError } from "../../errors.js";
import { NO_PARENT_CID, type VmdkDescriptor } from "../../image/vmdk/descriptor.js";
import { formatDescriptor } from "../../image/vmdk/descriptor-text.js";
import { SECTOR_BYTES, bytesToSectors, bytes as asBytes, sectors, sectorsToBytes } from "../../units.js";
import { mergeRanges, type Range } from "../ranges.js";
import type { DiskSlot } from "../vm-folder.js";
import type { ChangeLog } from "./change-log.js";
import { DeltaLink } from "./delta-link.js";
import { readChain, readDescriptor, type DiskLink } from "./link.js";
import { openLink } from "./open-link.js";

/** Bytes copied at a time when a delta is merged into its parent. */
const MERGE_CHUNK_BYTES = 4 * 1024 * 1024;

interface ChainLink {
  readonly link: DiskLink;
  descriptor: VmdkDescriptor;
  /** Whether the content id has been changed since the link became the newest: once per opening is enough. */
  marked: boolean;
}

/** One virtual disk with its chain of files. Every operation that changes the chain or its bytes waits its turn. */
export class LabDisk {
  readonly slot: DiskSlot;
  readonly changes: ChangeLog;
  readonly #chain: ChainLink[];
  readonly #turn = pLimit(1);

  private constructor(slot: DiskSlot, chain: ChainLink[], changes: ChangeLog) {
    this.slot = slot;
    this.#chain = chain;
    this.changes = changes;
  }

  static async open(slot: DiskSlot, changes: ChangeLog): Promise<LabDisk> {
    const chain: ChainLink[] = [];
    for (const link of await readChain(slot.path)) {
      chain.push({ link: await openLink(link), descriptor: link.descriptor, marked: false });
    }
    return new LabDisk(slot, chain, changes);
  }

  get key(): number {
    return this.slot.key;
  }

  get capacity(): number {
    const extents = this.#chain[0]?.descriptor.extents ?? [];
    return extents.reduce((sum, extent) => sum + sectorsToBytes(extent.sectors), 0);
  }

  /** A snapshot leaves the disk alone: it is independent, or a raw device that the hypervisor cannot intercept. */
  get isOutsideSnapshots(): boolean {
    return this.slot.mode.startsWith("independent") || this.isPhysicalRdm || this.newest.link.kind === "opaque";
  }

  get isPhysicalRdm(): boolean {
    return this.#chain[0]?.descriptor.extents[0]?.type === "VMFSRDM" && /rdmp|passthrough/i.test(this.base.createType);
  }

  get base(): VmdkDescriptor {
    const first = this.#chain[0];
    if (first === undefined) throw new NotFoundError(`Cannot find a link of disk ${this.key}`);
    return first.descriptor;
  }

  /** Base first. */
  get links(): readonly { readonly link: DiskLink; readonly descriptor: VmdkDescriptor }[] {
    return this.#chain;
  }

  get newest(): { readonly link: DiskLink; readonly descriptor: VmdkDescriptor } {
    const last = this.#chain.at(-1);
    if (last === undefined) throw new NotFoundError(`Cannot find a link of disk ${this.key}`);
    return last;
  }

  /** The links up to and with the one whose descriptor has this path: what a snapshot shows. */
  chainTo(descriptorPath: string): readonly { readonly link: DiskLink; readonly descriptor: VmdkDescriptor }[] {
    const at = this.#chain.findIndex(({ link }) => link.files.descriptor === descriptorPath);
    if (at < 0) throw new NotFoundError(`Cannot find link ${descriptorPath} of disk ${this.key}`);
    return this.#chain.slice(0, at + 1);
  }

  /** Reads whole sectors as the guest sees them now, or as it saw them when `frozen` was the newest link. */
  read(into: Uint8Array, at: number, frozen?: string): Promise<void> {
    this.#check(at, into.length);
    return this.#turn(async () => {
      into.fill(0);
      const chain = frozen === undefined ? this.#chain : this.chainTo(frozen);
      for (const { link } of chain) await link.overlay(into, at);
    });
  }

  /** A write of the guest: whole sectors into the newest link. */
  write(bytes: Uint8Array, at: number): Promise<void> {
    this.#check(at, bytes.length);
    return this.#turn(async () => {
      const last = this.#chain.at(-1);
      if (last === undefined) return;
      if (!last.marked) {
        await this.#describe(last, { ...last.descriptor, cid: randomCid() });
        last.marked = true;
      }
      await last.link.write(bytes, at);
      this.changes.record({ start: at, length: bytes.length }, this.capacity);
    });
  }

  /** Ranges that the chain up to `frozen` holds. */
  allocated(frozen?: string): Promise<Range[]> {
    return this.#turn(async () => {
      const chain = frozen === undefined ? this.#chain : this.chainTo(frozen);
      const lists: Range[] = [];
      for (const { link } of chain) lists.push(...(await link.allocated()));
      return mergeRanges(lists);
    });
  }

  /** Puts an empty delta on top. @returns the descriptor path of the link that is frozen now */
  freeze(): Promise<string> {
    return this.#turn(async () => {
      const frozen = this.newest;
      const name = await this.#deltaName();
      const folder = dirname(frozen.link.files.descriptor);
      const capacity = bytesToSectors(asBytes(this.capacity));
      await DeltaLink.create(join(folder, `${name}-delta.vmdk`), capacity);
      const descriptor: VmdkDescriptor = {
        version: 1,
        encoding: "UTF-8",
        cid: frozen.descriptor.cid,
        parentCid: frozen.descriptor.cid,
        createType: "vmfsSparse",
        parentFileNameHint: basename(frozen.link.files.descriptor),
        extents: [
          { access: "RW", sectors: capacity, type: "VMFSSPARSE", name: `${name}-delta.vmdk`, offset: sectors(0) },
        ],
        ddb: new Map([["ddb.longContentID", longContentId(frozen.descriptor)]]),
      };
      const path = join(folder, `${name}.vmdk`);
      await writeFileAtomic(path, formatDescriptor(descriptor), { mode: 0o600 });
      const link = await openLink(await readDescriptor(path));
      this.#chain.push({ link, descriptor, marked: false });
      return frozen.link.files.descriptor;
    });
  }

  /**
   * Merges the link after `frozen` into it and deletes that link's files.
   * @returns path of the link that vanished
   */
  merge(frozen: string): Promise<string> {
    return this.#turn(async () => {
      const at = this.chainTo(frozen).length - 1;
      const parent = this.#chain[at];
      const child = this.#chain[at + 1];
      if (parent === undefined || child === undefined) {
        throw new NotFoundError(`Cannot merge into ${frozen}: nothing was written after it`);
      }
      for (const range of await child.link.allocated()) await this.#copy(child.link, parent.link, range);
      // The parent now holds what the child held, and later links name the child's content id.
      await this.#describe(parent, { ...parent.descriptor, cid: child.descriptor.cid });
      parent.marked = child.marked;
      const grandchild = this.#chain[at + 2];
      if (grandchild !== undefined) {
        await this.#describe(grandchild, { ...grandchild.descriptor, parentFileNameHint: basename(frozen) });
      }
      this.#chain.splice(at + 1, 1);
      const { descriptor, extent } = child.link.files;
      await child.link[Symbol.asyncDispose]();
      await rm(descriptor);
      if (extent !== undefined) await rm(extent);
      return descriptor;
    });
  }

  async close(): Promise<void> {
    await this.#turn(async () => {
      for (const { link } of this.#chain) await link[Symbol.asyncDispose]();
    });
  }

  async #copy(from: DiskLink, to: DiskLink, range: Range): Promise<void> {
    for (let done = 0; done < range.length;) {
      const chunk = new Uint8Array(Math.min(MERGE_CHUNK_BYTES, range.length - done));
      await from.overlay(chunk, range.start + done);
      await to.write(chunk, range.start + done);
      done += chunk.length;
    }
  }

  async #describe(link: ChainLink, descriptor: VmdkDescriptor): Promise<void> {
    await writeFileAtomic(link.link.files.descriptor, formatDescriptor(descriptor), { mode: 0o600 });
    link.descriptor = descriptor;
  }

  /** `disk-000001`, the first number that is free in the folder. */
  async #deltaName(): Promise<string> {
    const base = this.#chain[0]?.link.files.descriptor ?? "";
    const stem = basename(base, ".vmdk");
    const taken = new Set(await readdir(dirname(base)));
    // Bound: a folder with a million deltas is not a lab.
    for (let number = 1; number < 1_000_000; number++) {
      const name = `${stem}-${String(number).padStart(6, "0")}`;
      if (!taken.has(`${name}.vmdk`) && !taken.has(`${name}-delta.vmdk`)) return name;
    }
    throw new NotFoundError(`Cannot find a free name for a delta of ${stem}`);
  }

  #check(at: number, length: number): void {
    if (at % SECTOR_BYTES !== 0 || length % SECTOR_BYTES !== 0 || at < 0 || at + length > this.capacity) {
      throw new RangeError(
        `Cannot use ${length} bytes at ${at} of disk ${this.key}: whole sectors inside the disk only`,
      );
    }
  }
}

/** Any number that is neither "no parent" nor the placeholder of a fresh disk. */
function randomCid(): number {
  return randomBytes(4).readUInt32BE(0) % (NO_PARENT_CID - 1);
}

function longContentId(parent: VmdkDescriptor): string {
  return parent.ddb.get("ddb.longContentID") ?? parent.cid.toString(16).padStart(32, "0");
}
