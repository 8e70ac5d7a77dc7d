import { copyFile, link, mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
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
  /** Folder of VM folders with the full machine, for reading without a server. */
  readonly localDirectory: string;
  /** The flat file of the full disk, as the local folder has it. */
  readonly denseFlat: string;
  /** Its descriptor. */
  readonly denseDescriptor: string;
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

  const localDirectory = join(directory, "vms");
  const machine = join(localDirectory, "dense");
  await mkdir(machine, { recursive: true });
  for (const name of await readdir(join(labDirectory, "ds1", "dense"))) {
    const from = join(labDirectory, "ds1", "dense", name);
    // Nobody writes to it, and a second gigabyte would only take time.
    if (name.endsWith("-flat.vmdk")) await link(from, join(machine, name));
    else await copyFile(from, join(machine, name));
  }
  return {
    labDirectory,
    dense: "dense",
    thin: "thin",
    small,
    localDirectory,
    denseFlat: join(machine, "dense-flat.vmdk"),
    denseDescriptor: join(machine, "dense.vmdk"),
  };
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
