import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import writeFileAtomic from "write-file-atomic";
import { z } from "zod";
import { ConfigError } from "../errors.js";
import { changeLogState } from "./disk/change-log.js";

const snapshotState = z.object({
  ref: z.string(),
  id: z.number().int(),
  name: z.string(),
  description: z.string(),
  createdAt: z.string(),
  quiesced: z.boolean(),
  power: z.enum(["on", "off", "suspended"]),
  /** By device key: file name of the frozen link, and the change id of the snapshot. */
  disks: z.record(z.string(), z.object({ frozen: z.string(), changeId: z.string().optional() })),
});
export type SnapshotState = z.infer<typeof snapshotState>;

const machineState = z.object({
  ref: z.string(),
  power: z.enum(["on", "off", "suspended"]),
  changeTracking: z.boolean(),
  consolidationNeeded: z.boolean(),
  /** Linear, oldest first: the lab does not revert, so nothing branches. */
  snapshots: z.array(snapshotState),
  changes: z.record(z.string(), changeLogState),
});
export type MachineState = z.infer<typeof machineState>;

const labState = z.object({
  version: z.literal(1),
  instanceUuid: z.string(),
  /** Whether the lab was closed in order: otherwise writes may be missing from the change logs. */
  clean: z.boolean(),
  nextNumber: z.number().int(),
  machines: z.record(z.string(), machineState),
});
export type LabState = z.infer<typeof labState>;

/** What the lab keeps for itself: password, certificate, state. */
export function stateFolder(directory: string): string {
  return join(directory, ".lab");
}

/** First number of the references of machines and snapshots. */
const FIRST_NUMBER = 101;

/** @throws ConfigError when the state file is there and not valid */
export async function readLabState(directory: string, newUuid: () => string): Promise<LabState> {
  const path = join(stateFolder(directory), "state.json");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    return { version: 1, instanceUuid: newUuid(), clean: true, nextNumber: FIRST_NUMBER, machines: {} };
  }
  try {
    return labState.parse(JSON.parse(text));
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
    throw new ConfigError(`Cannot use ${path}: ${reason}`, { cause: error, hint: "Delete the file to begin anew" });
  }
}

export async function writeLabState(directory: string, state: LabState): Promise<void> {
  await mkdir(stateFolder(directory), { recursive: true, mode: 0o700 });
  const path = join(stateFolder(directory), "state.json");
  await writeFileAtomic(path, `${JSON.stringify(state, undefined, 2)}\n`, { mode: 0o600 });
}
