import { randomBytes, randomUUID } from "node:crypto";
import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import writeFileAtomic from "write-file-atomic";
import { RefusedError } from "../../errors.js";
import { GIB, MIB } from "../../units.js";
import { makeGuestTree } from "../init/guest-tree.js";
import { makePartitionedDisk } from "../init/partitioned-disk.js";
import { POOL_CONFIG_NAME, type PoolConfigInput } from "./pool-config.js";

/** Sizes in bytes; whole MiB. */
export interface InitPoolOptions {
  /** System disks and the files on each: 1 GiB with 70 MiB. */
  readonly systemBytes?: number | undefined;
  readonly systemDataBytes?: number | undefined;
  /** Data disks and the files on each: 256 MiB with 10 MiB. */
  readonly dataBytes?: number | undefined;
  readonly dataDataBytes?: number | undefined;
}

/** Where images are made; renamed when complete, so a folder whose making was broken off is begun anew. */
const STAGING = ".making";

const NFS = "NFS";
const LOCAL = "Local of xen2";
const FOLDERS: Readonly<Record<string, string>> = { [NFS]: "SR/nfs", [LOCAL]: "SR/local-xen2", ISO: "SR/iso" };

/**
 * Makes the folder of a pool of two hosts: two running Linux machines with two disks each, of which the second one's data
 * disk is on storage that only the second host sees, one that is halted, and a template. Does nothing in a folder that
 * is a pool already.
 * @throws RefusedError when the folder holds anything else
 * @throws MissingCapabilityError without sfdisk or mke2fs
 */
export async function initLabPool(directory: string, options: InitPoolOptions = {}): Promise<void> {
  await mkdir(directory, { recursive: true });
  const names = await readdir(directory);
  if (names.includes(POOL_CONFIG_NAME)) return;
  const staging = join(directory, STAGING);
  await rm(staging, { recursive: true, force: true });
  const other = names.find((name) => name !== STAGING);
  if (other !== undefined) {
    throw new RefusedError(`Cannot make a pool in ${directory}: it holds "${other}" and is no pool`, {
      hint: "Name an empty or a new directory",
    });
  }
  const config = poolConfig(options);
  try {
    for (const folder of Object.values(FOLDERS)) await mkdir(join(staging, folder), { recursive: true });
    await Promise.all(plannedImages(config, options).map((image) => makeImage(staging, image)));
    await writeFile(join(staging, "SR", "iso", "empty.iso"), Buffer.alloc(MIB), { flag: "wx" });
    await rename(join(staging, "SR"), join(directory, "SR"));
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
  await writeFileAtomic(join(directory, POOL_CONFIG_NAME), `${JSON.stringify(config, undefined, 2)}\n`);
}

interface Image {
  readonly folder: string;
  readonly uuid: string;
  readonly bytes: number;
  readonly dataBytes: number;
  /** Label of the file system, and seed of its files. */
  readonly label: string;
}

function plannedImages(config: PoolConfigInput, options: InitPoolOptions): Image[] {
  const { systemDataBytes = 70 * MIB, dataDataBytes = 10 * MIB } = options;
  return (config.machines ?? []).flatMap(({ name, disks = [] }) =>
    disks.map(({ uuid, bytes, storage }, index) => ({
      folder: FOLDERS[storage] ?? "SR/nfs",
      uuid,
      bytes,
      dataBytes: index === 0 ? systemDataBytes : dataDataBytes,
      label: `${name.slice(0, 12)}-${index}`,
    })),
  );
}

async function makeImage(staging: string, { folder, uuid, bytes, dataBytes, label }: Image): Promise<void> {
  const tree = join(staging, "trees", uuid);
  await makeGuestTree(tree, dataBytes, label);
  await makePartitionedDisk({ path: join(staging, folder, `${uuid}.raw`), size: bytes, label, tree });
  await rm(tree, { recursive: true });
}

function poolConfig({ systemBytes = GIB, dataBytes = 256 * MIB }: InitPoolOptions): PoolConfigInput {
  const disk = (storage: string, index: number) => ({
    uuid: randomUUID(),
    name: index === 0 ? "System" : "Data",
    storage,
    bytes: index === 0 ? systemBytes : dataBytes,
    bootable: index === 0,
  });
  const linux = (name: string, storages: readonly string[]) => ({
    uuid: randomUUID(),
    name,
    disks: storages.map(disk),
    macs: [macAddress()],
  });
  return {
    version: 1,
    uuid: randomUUID(),
    name: "lab",
    hosts: [
      { uuid: randomUUID(), name: "xen1" },
      { uuid: randomUUID(), name: "xen2" },
    ],
    networks: [
      { uuid: randomUUID(), name: "Pool-wide network associated with eth0", bridge: "xenbr0", purpose: ["nbd"] },
    ],
    storage: [
      { uuid: randomUUID(), name: NFS, folder: "SR/nfs", type: "nfs", bytes: 100 * GIB },
      { uuid: randomUUID(), name: LOCAL, folder: "SR/local-xen2", type: "ext", hosts: [1], bytes: 50 * GIB },
      { uuid: randomUUID(), name: "ISO", folder: "SR/iso", type: "iso", bytes: GIB },
    ],
    defaultStorage: NFS,
    machines: [
      {
        ...linux("web01", [NFS, NFS]),
        description: "A running machine",
        power: "Running",
        ip: "10.20.30.11",
        quiesces: true,
      },
      {
        ...linux("db01", [NFS, LOCAL]),
        description: "A running machine",
        power: "Running",
        ip: "10.20.30.12",
        host: 1,
      },
      { ...linux("cold01", [NFS]), description: "A machine that is off" },
      { uuid: randomUUID(), name: "Debian Bookworm 12", description: "A template", template: true },
    ],
  };
}

/** In Xen's range. */
function macAddress(): string {
  const tail = [...randomBytes(3)].map((byte) => byte.toString(16).padStart(2, "0"));
  return ["00", "16", "3e", ...tail].join(":");
}
