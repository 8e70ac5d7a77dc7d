import { randomBytes } from "node:crypto";
import { rm } from "node:fs/promises";
import { basename } from "node:path";
import pLimit from "p-limit";
import writeFileAtomic from "write-file-atomic";
import { NotFoundError } from "../../errors.js";
import { NO_PARENT_CID, type VmdkDescriptor } from "../../image/vmdk/descriptor.js";
import { formatDescriptor } from "../../image/vmdk/descriptor-text.js";
import { SECTOR_BYTES, sectorsToBytes } from "../../units.js";
import { mergeRanges, type Range } from "../ranges.js";
import type { DiskSlot } from "../vm-folder.js";
import type { ChangeLog } from "./change-log.js";
import { copyLink, createDelta } from "./delta-files.js";
import { readChain, type OpenLink } from "./link.js";
import { openLink } from "./open-link.js";

interface ChainLink extends OpenLink {
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
  get links(): readonly OpenLink[] {
    return this.#chain;
  }

  get newest(): OpenLink {
    const last = this.#chain.at(-1);
    if (last === undefined) throw new NotFoundError(`Cannot find a link of disk ${this.key}`);
    return last;
  }

  /** The links up to and with the one whose descriptor has this path: what a snapshot shows. */
  chainTo(descriptorPath: string): readonly OpenLink[] {
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
      const { path, descriptor } = await createDelta(
        this.#chain[0]?.link.files.descriptor ?? "",
        frozen,
        this.capacity,
      );
      const link = await openLink({ path, descriptor });
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
      await copyLink(child.link, parent.link);
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

  async #describe(link: ChainLink, descriptor: VmdkDescriptor): Promise<void> {
    await writeFileAtomic(link.link.files.descriptor, formatDescriptor(descriptor), { mode: 0o600 });
    link.descriptor = descriptor;
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
