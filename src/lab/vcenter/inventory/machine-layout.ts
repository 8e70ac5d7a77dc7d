import { statSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import type { LabDisk } from "../../disk/lab-disk.js";
import type { Machine } from "../../machine.js";
import { data, moref, type Data } from "../values.js";

interface LayoutFile {
  readonly key: number;
  readonly path: string;
  readonly type: string;
  readonly size: number;
  readonly allocated: number;
}

function layoutFiles(machine: Machine): LayoutFile[] {
  const { path: folder } = machine.files;
  const extents = new Set(machine.disks.flatMap((disk) => disk.links.map(({ link }) => link.files.extent)));
  // Synchronous: a property has to be read in one go, and a folder holds a dozen files.
  return readdirSync(folder)
    .sort()
    .map((name, key) => {
      const path = join(folder, name);
      const stat = statSync(path);
      const type = extents.has(path) ? "diskExtent" : typeOf(name);
      return { key, path, type, size: stat.size, allocated: stat.blocks * 512 };
    });
}

function typeOf(name: string): string {
  if (name.endsWith(".vmdk")) return "diskDescriptor";
  if (name.endsWith(".vmx")) return "config";
  if (name.endsWith(".nvram")) return "nvram";
  if (name.endsWith(".vmsd")) return "snapshotList";
  return "log";
}

/** Bytes that the machine's files take on the datastore. */
export function committedBytes(machine: Machine): number {
  return layoutFiles(machine).reduce((sum, file) => sum + file.allocated, 0);
}

/** `VirtualMachine.layoutEx` */
export function layoutEx(machine: Machine): Data {
  const files = layoutFiles(machine);
  const keysOf = (paths: readonly (string | undefined)[]): number[] =>
    files.filter((file) => paths.includes(file.path)).map((file) => file.key);
  const chainOf = (disk: LabDisk, links: LabDisk["links"]): Data =>
    data("VirtualMachineFileLayoutExDiskLayout", {
      key: disk.key,
      chain: links.map(({ link }) =>
        data("VirtualMachineFileLayoutExDiskUnit", { fileKey: keysOf([link.files.descriptor, link.files.extent]) }),
      ),
    });
  return data("VirtualMachineFileLayoutEx", {
    file: files.map(({ key, path, type, size, allocated }) =>
      data("VirtualMachineFileLayoutExFileInfo", {
        key,
        name: machine.datastorePath(basename(path)),
        type,
        size: type === "diskExtent" ? allocated : size,
        uniqueSize: type === "diskExtent" ? allocated : size,
        accessible: true,
      }),
    ),
    disk: machine.disks.map((disk) => chainOf(disk, disk.links)),
    snapshot: machine.snapshots.map((snapshot) =>
      data("VirtualMachineFileLayoutExSnapshotLayout", {
        key: moref("VirtualMachineSnapshot", snapshot.ref),
        dataKey: -1,
        memoryKey: -1,
        disk: machine.disks.map((disk) => {
          const frozen = snapshot.disks.get(disk.key)?.frozen;
          return chainOf(disk, frozen === undefined ? disk.links : disk.chainTo(frozen));
        }),
      }),
    ),
    timestamp: machine.modifiedAt,
  });
}
