import { copyFile, link, mkdir, readdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { LAB_CONFIG_NAME, type LabConfigInput } from "../../src/lab/lab-config.js";
import { writeMachineFiles } from "../../src/lab/init/machine-files.js";
import { makeNoiseFile, spreadStretches, type Stretch } from "./noise.js";
import type { Options } from "./options.js";

/** Machines of the case with many mounts. */
const SMALL_MACHINES = 10;

export interface Site {
  /** Folder of the stand-in vCenter. */
  readonly labDirectory: string;
  /** The machine whose one disk is full of data. */
  readonly dense: string;
  /** The machine with a thin disk, and a second disk that is full of as much data. */
  readonly thin: string;
  readonly small: readonly string[];
  /** The full machine again, for reading without a server. */
  readonly local: LocalMachine;
}

/** A machine with one full disk in a folder of VM folders. */
export interface LocalMachine {
  /** The folder of VM folders. */
  readonly directory: string;
  readonly name: string;
  /** The flat file of its disk. */
  readonly flat: string;
  /** The descriptor of its disk. */
  readonly descriptor: string;
}

interface NewDisk {
  readonly size: number;
  readonly stretches: readonly Stretch[];
}

/** Makes the data that every case reads: noise, so that nothing can be compressed or deduplicated away. */
export async function makeSite(directory: string, options: Options): Promise<Site> {
  const labDirectory = join(directory, "lab");
  const small = Array.from({ length: SMALL_MACHINES }, (_, index) => `small${String(index + 1).padStart(2, "0")}`);
  const { diskBytes, thinBytes, thinDataBytes, smallDiskBytes, cases } = options;
  const needs = (...wanted: readonly string[]): boolean => cases.some((letter) => wanted.includes(letter));
  await makeMachine(labDirectory, "dense", [full(diskBytes)]);
  if (needs("g")) {
    const thin = { size: thinBytes, stretches: spreadStretches(thinBytes, thinDataBytes) };
    await makeMachine(labDirectory, "thin", [thin, full(thinDataBytes)]);
  }
  if (needs("i")) for (const name of small) await makeMachine(labDirectory, name, [full(smallDiskBytes)]);
  // A machine that is off has no locked files: what reads beside vmmount needs no snapshot of its own.
  const off = Object.fromEntries(["dense", ...small].map((name) => [`ds1/${name}`, { power: "off" as const }]));
  const config: LabConfigInput = { version: 1, datacenter: "dc1", machines: off };
  await writeFile(join(labDirectory, LAB_CONFIG_NAME), JSON.stringify(config));

  const local = localMachine(join(directory, "vms"), "dense");
  // Nobody writes to it, and a second gigabyte would only take time.
  await placeMachine(join(labDirectory, "ds1", "dense"), local, (from, to) =>
    to === local.flat ? link(from, to) : copyFile(from, to),
  );
  return {
    labDirectory,
    dense: "dense",
    thin: "thin",
    small,
    local,
  };
}

function localMachine(directory: string, name: string): LocalMachine {
  const folder = join(directory, name);
  return { directory, name, flat: join(folder, `${name}-flat.vmdk`), descriptor: join(folder, `${name}.vmdk`) };
}

/** The same machine in another folder. */
export async function copyMachine(machine: LocalMachine, directory: string): Promise<LocalMachine> {
  const copy = localMachine(directory, machine.name);
  await placeMachine(dirname(machine.flat), copy, (from, to) => copyFile(from, to));
  return copy;
}

async function placeMachine(
  from: string,
  machine: LocalMachine,
  place: (from: string, to: string) => Promise<void>,
): Promise<void> {
  const folder = dirname(machine.flat);
  await mkdir(folder, { recursive: true });
  for (const name of await readdir(from)) await place(join(from, name), join(folder, name));
}

function full(size: number): NewDisk {
  return { size, stretches: [{ start: 0, length: size }] };
}

async function makeMachine(labDirectory: string, name: string, disks: readonly NewDisk[]): Promise<void> {
  const folder = join(labDirectory, "ds1", name);
  await mkdir(folder, { recursive: true });
  const made = disks.map((disk, index) => ({ ...disk, stem: index === 0 ? name : `${name}_${index}` }));
  for (const { stem, size, stretches } of made) {
    await makeNoiseFile(join(folder, `${stem}-flat.vmdk`), size, stretches, stem);
  }
  await writeMachineFiles({
    folder,
    stem: name,
    displayName: name,
    annotation: "",
    controller: "scsi0",
    disks: made.map(({ stem, size }, index) => ({ node: `scsi0:${index}`, stem, size })),
  });
}
