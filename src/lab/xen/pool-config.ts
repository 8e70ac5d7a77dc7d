import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { ConfigError, NotFoundError } from "../../errors.js";
import { PROFILE_DEFAULT, PROFILES } from "./profile.js";

const disk = z.strictObject({
  uuid: z.uuid(),
  name: z.string().default(""),
  description: z.string().default(""),
  /** Name of the storage repository that holds `UUID.raw`. */
  storage: z.string(),
  bytes: z.number().int().min(0),
  bootable: z.boolean().default(false),
});

const machine = z.strictObject({
  uuid: z.uuid(),
  name: z.string().min(1),
  description: z.string().default(""),
  power: z.enum(["Running", "Halted"]).default("Halted"),
  template: z.boolean().default(false),
  memoryBytes: z.number().int().min(0).default(1073741824),
  cpus: z.number().int().min(1).default(1),
  /** Index of the host on which it runs. */
  host: z.number().int().min(0).default(0),
  ip: z.string().optional(),
  /** Whether the guest has drivers that can quiesce its file systems. */
  quiesces: z.boolean().default(false),
  disks: z.array(disk).default([]),
  /** MAC addresses; each network card is on the first network. */
  macs: z.array(z.string()).default([]),
});

const storage = z.strictObject({
  uuid: z.uuid(),
  name: z.string().min(1),
  folder: z.string().regex(/^[\w.-]+(\/[\w.-]+)*$/),
  type: z.enum(["nfs", "ext", "lvm", "iso"]),
  /** Indexes of the hosts that see it; absent = all. */
  hosts: z.array(z.number().int().min(0)).optional(),
  bytes: z.number().int().min(0),
});

const poolConfig = z.strictObject({
  version: z.literal(1),
  uuid: z.uuid(),
  name: z.string().default(""),
  profile: z.enum(PROFILES).default(PROFILE_DEFAULT),
  hosts: z.array(z.strictObject({ uuid: z.uuid(), name: z.string().min(1) })).min(1),
  networks: z
    .array(
      z.strictObject({
        uuid: z.uuid(),
        name: z.string(),
        bridge: z.string(),
        purpose: z.array(z.enum(["nbd", "insecure_nbd"])).default([]),
      }),
    )
    .min(1),
  storage: z.array(storage),
  /** Name of the storage that imports go to; absent = none. */
  defaultStorage: z.string().optional(),
  machines: z.array(machine).default([]),
});
export type PoolConfig = z.infer<typeof poolConfig>;
export type PoolConfigInput = z.input<typeof poolConfig>;
export type MachineConfig = PoolConfig["machines"][number];

/** A folder with this file is a pool. */
export const POOL_CONFIG_NAME = "pool.json";

/** @throws ConfigError when the file is not valid; NotFoundError when there is none */
export async function readPoolConfig(directory: string): Promise<PoolConfig> {
  const path = join(directory, POOL_CONFIG_NAME);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    throw new NotFoundError(`Cannot serve a pool from ${directory}: it has no ${POOL_CONFIG_NAME}`, {
      hint: `Make one with "vmmount lab init --pool ${directory}"`,
    });
  }
  try {
    return poolConfig.parse(JSON.parse(text));
  } catch (error) {
    const reason = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
    throw new ConfigError(`Cannot use ${path}: ${reason}`, { cause: error });
  }
}
