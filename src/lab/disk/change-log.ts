import { randomBytes } from "node:crypto";
import { z } from "zod";
import { alignRanges, mergeRanges, type Range } from "../ranges.js";

/** Granularity of tracking, as on VMFS for disks of this size. */
export const TRACKING_BLOCK_BYTES = 64 * 1024;

export const changeLogState = z.object({
  uuid: z.string(),
  sequence: z.number().int().positive(),
  epochs: z.record(z.string(), z.array(z.object({ start: z.number(), length: z.number() }))),
});
export type ChangeLogState = z.infer<typeof changeLogState>;

/** 16 bytes as vSphere prints them: spaces, and a dash after the eighth. */
export function spacedUuid(bytes: Buffer): string {
  const pairs = [...bytes].map((byte) => byte.toString(16).padStart(2, "0"));
  return `${pairs.slice(0, 8).join(" ")}-${pairs.slice(8).join(" ")}`;
}

/**
 * Changed block tracking of one disk. A snapshot begins a new epoch, and its change id `UUID/epoch` means: everything
 * written from here on. The UUID changes when writes may have been missed, which makes older change ids useless.
 */
export class ChangeLog {
  #uuid: string;
  #epoch: number;
  readonly #written = new Map<number, Range[]>();

  constructor(state?: ChangeLogState) {
    this.#uuid = state?.uuid ?? spacedUuid(randomBytes(16));
    this.#epoch = state?.sequence ?? 1;
    for (const [epoch, ranges] of Object.entries(state?.epochs ?? {})) this.#written.set(Number(epoch), ranges);
  }

  get changeId(): string {
    return `${this.#uuid}/${this.#epoch}`;
  }

  /** Forgets everything: older change ids are refused from now on. */
  reset(): void {
    this.#uuid = spacedUuid(randomBytes(16));
    this.#epoch = 1;
    this.#written.clear();
  }

  record(range: Range, capacity: number): void {
    const ranges = this.#written.get(this.#epoch) ?? [];
    this.#written.set(this.#epoch, mergeRanges([...ranges, ...alignRanges([range], TRACKING_BLOCK_BYTES, capacity)]));
  }

  /** Begins the next epoch and returns the change id of the snapshot that did it. */
  advance(): string {
    this.#epoch++;
    return this.changeId;
  }

  /**
   * What was written from `changeId` up to `until`, the change id of a later snapshot (undefined = now).
   * @returns undefined when `changeId` is not one of this log
   */
  since(changeId: string, until: string | undefined): Range[] | undefined {
    const from = this.#epochOf(changeId);
    const to = until === undefined ? this.#epoch + 1 : this.#epochOf(until);
    if (from === undefined || to === undefined || from > to) return undefined;
    return mergeRanges(
      [...this.#written].filter(([epoch]) => epoch >= from && epoch < to).flatMap(([, ranges]) => ranges),
    );
  }

  #epochOf(changeId: string): number | undefined {
    const slash = changeId.lastIndexOf("/");
    const epoch = Number(changeId.slice(slash + 1));
    if (changeId.slice(0, slash) !== this.#uuid || !Number.isInteger(epoch)) return undefined;
    return epoch >= 1 && epoch <= this.#epoch ? epoch : undefined;
  }

  state(): ChangeLogState {
    return { uuid: this.#uuid, sequence: this.#epoch, epochs: Object.fromEntries(this.#written) };
  }
}
