import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { ConfigError } from "../errors.js";

/** How a machine appears in the inventory; every field has a default, so a folder with images is enough. */
const machineSettings = z.strictObject({
  /** Display name; default: `displayName` of the .vmx file. */
  name: z.string().min(1).max(80).optional(),
  /** Inventory folders below `vm`, outermost first. */
  folder: z.array(z.string().min(1).max(80)).default([]),
  power: z.enum(["on", "off", "suspended"]).default("on"),
  toolsRunning: z.boolean().default(true),
  ip: z.string().optional(),
  hostName: z.string().optional(),
  changeTracking: z.boolean().default(true),
  template: z.boolean().default(false),
});
export type MachineSettings = z.infer<typeof machineSettings>;

const labConfig = z.strictObject({
  version: z.literal(1),
  datacenter: z.string().min(1).max(80).default("dc1"),
  /** What it says it is: an ESXi host differs by nothing but that. */
  server: z.enum(["vcenter", "esxi"]).default("vcenter"),
  /** Keyed by `DATASTORE/FOLDER`. */
  machines: z.record(z.string(), machineSettings).default({}),
  /** Name of the one host: what clients connect to. Default: that of this machine. */
  host: z.string().min(1).optional(),
  /** Privileges by the name of a role; it is held on everything. */
  roles: z.record(z.string(), z.array(z.string())).default({}),
  /** Users besides the administrator, who may do everything. */
  users: z.record(z.string(), z.strictObject({ password: z.string().min(1), role: z.string() })).default({}),
});
export type LabConfig = z.infer<typeof labConfig>;
export type LabConfigInput = z.input<typeof labConfig>;

export const LAB_CONFIG_NAME = "lab.json";

/** @throws ConfigError when the file is there and not valid */
export async function readLabConfig(directory: string): Promise<LabConfig> {
  const path = join(directory, LAB_CONFIG_NAME);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return labConfig.parse({ version: 1 });
    throw error;
  }
  try {
    return labConfig.parse(JSON.parse(text));
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
    throw new ConfigError(`Cannot use ${path}: ${reason}`, { cause: error });
  }
}

export function defaultMachineSettings(): MachineSettings {
  return machineSettings.parse({});
}
