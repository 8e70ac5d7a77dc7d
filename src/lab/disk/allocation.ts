import { spawn } from "node:child_process";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname } from "node:path";
import type { Range } from "../ranges.js";

/** A tar header block. */
const BLOCK_BYTES = 512;
/** Longest sparse map read: 64 MiB of "offset,length" pairs are millions of ranges. */
const MAP_BYTES_MAX = 64 * 1024 * 1024;

/**
 * The allocated ranges of a local file. Node has no lseek(SEEK_DATA); GNU tar has, and writes what it found into the
 * header that precedes the data (tar manual, "Storing Sparse Files", version 0.1), so its output is read up to there.
 * @returns undefined when the file system or tar does not tell
 */
export async function allocatedRanges(path: string, file: FileHandle): Promise<Range[] | undefined> {
  const { size, blocks } = await file.stat();
  if (blocks === 0) return [];
  const child = spawn(
    "tar",
    [
      "--create",
      "--file=-",
      "--sparse",
      "--hole-detection=seek",
      "--format=pax",
      "--sparse-version=0.1",
      `--directory=${dirname(path)}`,
      "--",
      basename(path),
    ],
    { stdio: ["ignore", "pipe", "ignore"], env: { ...process.env, LC_ALL: "C" } },
  );
  const ended = new Promise<void>((resolve) => {
    child.once("close", resolve);
    child.once("error", () => {
      resolve();
    });
  });
  try {
    const header = await paxHeader(child.stdout);
    const map = header === undefined ? undefined : /GNU\.sparse\.map=([\d,]*)\n/.exec(header)?.[1];
    return map === undefined ? undefined : parseMap(map, size);
  } finally {
    child.kill("SIGKILL");
    await ended;
  }
}

/** The records of the extended header at the very front, or undefined when the archive begins with anything else. */
async function paxHeader(stream: AsyncIterable<Buffer>): Promise<string | undefined> {
  let seen = Buffer.alloc(0);
  let needed = BLOCK_BYTES;
  for await (const chunk of stream) {
    seen = Buffer.concat([seen, chunk]);
    if (needed === BLOCK_BYTES && seen.length >= BLOCK_BYTES) {
      if (seen.toString("latin1", 156, 157) !== "x") return undefined;
      needed += Number.parseInt(seen.toString("latin1", 124, 136), 8);
      if (!(needed <= MAP_BYTES_MAX)) return undefined;
    }
    if (needed > BLOCK_BYTES && seen.length >= needed) return seen.toString("latin1", BLOCK_BYTES, needed);
  }
  return undefined;
}

function parseMap(map: string, size: number): Range[] {
  const numbers = map.split(",").map(Number);
  const ranges: Range[] = [];
  for (let index = 0; index + 1 < numbers.length; index += 2) {
    const start = numbers[index] ?? 0;
    const length = Math.min(numbers[index + 1] ?? 0, size - start);
    if (length > 0) ranges.push({ start, length });
  }
  return ranges;
}
