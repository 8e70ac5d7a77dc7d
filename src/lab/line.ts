import { setTimeout as sleep } from "node:timers/promises";
import type { RuleAction } from "./rules.js";

/** What a line may catch up on after a pause, as the buffer of a switch does: timers wake late by a millisecond or two. */
const BURST_MS = 5;
/** A chunk takes about this long, so that the rate is smooth and a fast line does not cost a timer for every few KiB. */
const CHUNK_MS = 2;
const CHUNK_BYTES_MIN = 16 * 1024;
const CHUNK_BYTES_MAX = 256 * 1024;

/** A line of limited rate: bytes go over it one after the other, whoever sends them. */
export class Line {
  /** Best size of a piece, in bytes. */
  readonly chunkBytes: number;
  readonly #bytesPerSecond: number;
  /** When everything that was taken on has gone; milliseconds of `performance.now()`. */
  #freeAt = performance.now();

  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
    const chunk = Math.round((bytesPerSecond * CHUNK_MS) / 1000);
    this.chunkBytes = Math.min(CHUNK_BYTES_MAX, Math.max(CHUNK_BYTES_MIN, chunk));
  }

  /** Resolves when `bytes` have gone over the line, or the signal says that nobody waits for them. */
  async carry(bytes: number, signal: AbortSignal): Promise<void> {
    const now = performance.now();
    this.#freeAt = Math.max(this.#freeAt, now - BURST_MS) + (bytes / this.#bytesPerSecond) * 1000;
    const ahead = this.#freeAt - now;
    if (ahead > 0) await sleep(ahead, undefined, { signal }).catch(() => undefined);
  }
}

/** Lines that several transfers share, by the action of their rule. */
const sharedLines = new WeakMap<RuleAction, Line>();

/** What a rule wants of a transfer: a line of its own, or the one that all have which the rule acts on. */
export function lineOf(actions: readonly RuleAction[]): Line | undefined {
  const action = actions.find((candidate) => candidate.kind === "bandwidth");
  if (action === undefined) return undefined;
  if (action.scope === "transfer") return new Line(action.bytesPerSecond);
  const line = sharedLines.get(action) ?? new Line(action.bytesPerSecond);
  sharedLines.set(action, line);
  return line;
}
