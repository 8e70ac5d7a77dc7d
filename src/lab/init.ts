import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import writeFileAtomic from "write-file-atomic";
import { RefusedError } from "../errors.js";
import { GIB, MIB } from "../units.js";
import { makeGeneratedFile, makeGuestTree } from "./init/guest-tree.js";
import { writeMachineFiles, type NewMachine } from "./init/machine-files.js";
import { makePartitionedDisk } from "./init/partitioned-disk.js";
import { LAB_CONFIG_NAME, type LabConfigInput } from "./lab-config.js";

/** Sizes in bytes; whole MiB. */
export interface InitOptions {
  /** System disk of web01 and the files on it: 8 GiB with 200 MiB. */
  readonly systemBytes?: number | undefined;
  readonly systemDataBytes?: number | undefined;
  /** Data disk of web01 and the files on it: 1 GiB with 20 MiB. */
  readonly dataBytes?: number | undefined;
  readonly dataDataBytes?: number | undefined;
  /** Independent disk of web01: 64 MiB. */
  readonly independentBytes?: number | undefined;
  /** The disk of the second machine and the files on it: 512 MiB with 5 MiB. */
  readonly awkwardBytes?: number | undefined;
  readonly awkwardDataBytes?: number | undefined;
}

/** Every character that has broken a backup script: spaces, both quotes, percent, slash, an umlaut. */
export const AWKWARD_NAME = `Jörg's "50%" a/b VM`;
const AWKWARD_STEM = `Jörg's "50%" a_b VM`;

/** Where the machines are made; renamed when complete, so a lab that died half-way is begun anew. */
const STAGING = ".making";

/**
 * Makes a lab directory with two machines and real file systems. Does nothing in a directory that is a lab already.
 * @throws RefusedError when the directory holds anything else
 * @throws MissingCapabilityError without sfdisk or mke2fs
 */
export async function initLab(directory: string, options: InitOptions = {}): Promise<void> {
  await mkdir(directory, { recursive: true });
  const names = await readdir(directory);
  if (names.includes(LAB_CONFIG_NAME)) return;
  const staging = join(directory, STAGING);
  await rm(staging, { recursive: true, force: true });
  const other = names.find((name) => name !== STAGING);
  if (other !== undefined) {
    throw new RefusedError(`Cannot make a lab in ${directory}: it holds "${other}" and is no lab`, {
      hint: "Name an empty or a new directory",
    });
  }
  try {
    await Promise.all([makeWeb01(staging, options), makeAwkward(staging, options)]);
    await rename(join(staging, "ds1"), join(directory, "ds1"));
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
  await writeFileAtomic(join(directory, LAB_CONFIG_NAME), `${JSON.stringify(config(), undefined, 2)}\n`);
}

async function makeWeb01(staging: string, options: InitOptions): Promise<void> {
  const { systemBytes = 8 * GIB, dataBytes = GIB, independentBytes = 64 * MIB } = options;
  const machine: NewMachine = {
    folder: join(staging, "ds1", "web01"),
    stem: "web01",
    displayName: "web01",
    annotation: "A running machine with three disks, one of them independent",
    controller: "scsi0",
    disks: [
      { node: "scsi0:0", stem: "web01", size: systemBytes },
      { node: "scsi0:1", stem: "web01_1", size: dataBytes },
      { node: "scsi0:2", stem: "web01_2", size: independentBytes, mode: "independent-persistent" },
    ],
  };
  await mkdir(machine.folder, { recursive: true });
  await makeFileSystem(staging, machine, "web01", systemBytes, options.systemDataBytes ?? 200 * MIB);
  await makeFileSystem(staging, machine, "web01_1", dataBytes, options.dataDataBytes ?? 20 * MIB);
  await makeGeneratedFile(join(machine.folder, "web01_2-flat.vmdk"), independentBytes, "independent");
  await writeMachineFiles(machine);
}

async function makeAwkward(staging: string, options: InitOptions): Promise<void> {
  const { awkwardBytes = 512 * MIB, awkwardDataBytes = 5 * MIB } = options;
  const machine: NewMachine = {
    folder: join(staging, "ds1", AWKWARD_STEM),
    stem: AWKWARD_STEM,
    displayName: AWKWARD_NAME,
    annotation: "A machine that is off, with an awkward name",
    controller: "sata0",
    disks: [{ node: "sata0:1", stem: AWKWARD_STEM, size: awkwardBytes }],
  };
  await mkdir(machine.folder, { recursive: true });
  await makeFileSystem(staging, machine, AWKWARD_STEM, awkwardBytes, awkwardDataBytes);
  await writeMachineFiles(machine);
}

async function makeFileSystem(
  staging: string,
  machine: NewMachine,
  stem: string,
  size: number,
  dataBytes: number,
): Promise<void> {
  const tree = join(staging, "trees", stem);
  await makeGuestTree(tree, dataBytes, stem);
  // A label of ext4 has at most 16 bytes, and these need no escaping anywhere.
  const label = stem === AWKWARD_STEM ? "awkward" : stem;
  await makePartitionedDisk({ path: join(machine.folder, `${stem}-flat.vmdk`), size, label, tree });
  await rm(tree, { recursive: true });
}

function config(): LabConfigInput {
  return {
    version: 1,
    datacenter: "dc1",
    machines: {
      "ds1/web01": { power: "on", ip: "10.20.30.11", hostName: "web01.lab.example" },
      [`ds1/${AWKWARD_STEM}`]: { name: AWKWARD_NAME, folder: ["Test VMs"], power: "off" },
    },
  };
}
