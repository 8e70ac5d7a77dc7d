import { open } from "node:fs/promises";
import { MIB } from "../../src/units.js";
import type { Sample, Started } from "./contender.js";
import { cpuSeconds, peakRssBytes, untilAtRest } from "./process-cost.js";
import type { Transfer } from "./sequential-read.js";

/** Bytes in the MB and GB of every table. */
export const MEGA = 1e6;
export const GIGA = 1e9;

/** The rate of a transfer, and what it cost the processes that served it. */
export async function rateAndCost(pids: readonly number[], transfer: () => Promise<Transfer>): Promise<Sample> {
  await untilAtRest(pids);
  const before = await cpuSeconds(pids);
  const { bytes, seconds } = await transfer();
  const used = (await cpuSeconds(pids)) - before;
  return {
    value: bytes / MEGA / seconds,
    ...(pids.length > 0 && { cpuSecondsPerGb: used / (bytes / GIGA), peakRssBytes: await peakRssBytes(pids) }),
  };
}

/** A fast reader of wrong bytes wins nothing: compares the last MiB. @throws Error when it differs */
export async function mustEqual(started: Started, origin: string, bytes: number): Promise<void> {
  const [seen, expected] = await Promise.all([tail(started.path, bytes), tail(origin, bytes)]);
  if (!seen.equals(expected)) throw new Error(`The bytes of ${started.path} are not those of ${origin}`);
}

async function tail(path: string, size: number): Promise<Buffer> {
  await using file = await open(path, "r");
  const buffer = Buffer.alloc(MIB);
  let filled = 0;
  while (filled < buffer.length) {
    const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, size - MIB + filled);
    if (bytesRead === 0) throw new Error(`${path} ends at byte ${size - MIB + filled}`);
    filled += bytesRead;
  }
  return buffer;
}
