import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import writeFileAtomic from "write-file-atomic";
import { z } from "zod";
import { ConfigError } from "../../errors.js";
import { stateFolder } from "../lab-state.js";
import type { SavedRows } from "./database/saved.js";

const poolState = z.object({
  version: z.literal(1),
  rows: z.record(z.string(), z.record(z.string(), z.record(z.string(), z.unknown()))),
});

/** Of a pool that runs for the first time: undefined. @throws ConfigError when the file is not valid */
export async function readPoolState(directory: string): Promise<SavedRows | undefined> {
  const path = statePath(directory);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
  try {
    return poolState.parse(JSON.parse(text)).rows;
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
    throw new ConfigError(`Cannot use ${path}: ${reason}`, { cause: error, hint: "Delete the file to begin anew" });
  }
}

export async function writePoolState(directory: string, rows: SavedRows): Promise<void> {
  await mkdir(stateFolder(directory), { recursive: true, mode: 0o700 });
  // A pool that is killed must find what it has answered; one whose machine loses power need not.
  const options = { mode: 0o600, fsync: false };
  await writeFileAtomic(statePath(directory), `${JSON.stringify({ version: 1, rows })}\n`, options);
}

function statePath(directory: string): string {
  return join(stateFolder(directory), "pool-state.json");
}
