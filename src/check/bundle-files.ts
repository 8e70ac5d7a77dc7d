import { constants } from "node:fs";
import { open, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { MOUNT_TYPE } from "../mount-info.js";
import type { StatePaths } from "../mount/state-paths.js";
import { MIB } from "../units.js";

/** A file of the bundle, before anything is hidden in it. */
export interface BundleEntry {
  readonly name: string;
  readonly text: string;
}

/** Of a long log the end counts. */
const FILE_BYTES_MAX = 4 * MIB;
/** All logs together: what a mail still carries when it is packed. */
const TOTAL_BYTES_MAX = 64 * MIB;
/** Journals of dead sessions; there are as many as mounts that died. */
const FILES_MAX = 200;

/** Logs and journals, the newest first as far as there is room. */
export async function stateFiles(paths: StatePaths): Promise<{ entries: BundleEntry[]; notes: string[] }> {
  const entries: BundleEntry[] = [];
  const notes: string[] = [];
  let room = TOTAL_BYTES_MAX;
  for (const [folder, ending, kind] of [
    [paths.logs, ".log", "logs"],
    [paths.sessions, ".journal", "sessions"],
  ] as const) {
    const names = await readdir(folder).catch((error: unknown) => {
      notes.push(`${folder} cannot be listed: ${(error as NodeJS.ErrnoException).code ?? String(error)}`);
      return [];
    });
    const ours = names.filter((name) => name.endsWith(ending) && /^[\w.-]+$/.test(name));
    const files = await Promise.all(ours.map((name) => readEnd(join(folder, name), name, notes)));
    const found = files.filter((file) => file !== undefined).sort((a, b) => b.time - a.time);
    for (const { name, text } of found.slice(0, FILES_MAX)) {
      room -= text.length;
      if (room < 0) notes.push(`${kind}/${name} is left out: the bundle is full`);
      else entries.push({ name: `${kind}/${name}`, text });
    }
  }
  return { entries, notes };
}

/** The end of a file, from a line's beginning on: half a line may hold half a secret, which nothing would recognize. */
async function readEnd(
  path: string,
  name: string,
  notes: string[],
): Promise<{ readonly name: string; readonly text: string; readonly time: number } | undefined> {
  try {
    // Neither a link nor a pipe that somebody put there.
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stat = await file.stat();
      if (!stat.isFile()) throw new Error("it is no file");
      const start = Math.max(0, stat.size - FILE_BYTES_MAX);
      const buffer = Buffer.alloc(Math.min(stat.size, FILE_BYTES_MAX));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, start);
      const text = buffer.toString("utf8", 0, bytesRead);
      if (start === 0) return { name, text, time: stat.mtimeMs };
      notes.push(`${name} is cut: its last ${FILE_BYTES_MAX / MIB} MiB are here`);
      const newline = text.indexOf("\n");
      return { name, text: newline < 0 ? "" : text.slice(newline + 1), time: stat.mtimeMs };
    } finally {
      await file.close();
    }
  } catch (error) {
    notes.push(`${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

/** Our lines of /proc/mounts. */
export async function ownMounts(): Promise<BundleEntry> {
  const lines = (await readFile("/proc/self/mounts", "utf8")).split("\n");
  return { name: "mounts.txt", text: lines.filter((line) => line.split(" ")[2] === MOUNT_TYPE).join("\n") };
}
