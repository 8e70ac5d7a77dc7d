import { open } from "node:fs/promises";
import { MIB } from "../../units.js";
import { runProgram } from "./program.js";

export interface PartitionedDisk {
  /** The flat file to make. */
  readonly path: string;
  readonly size: number;
  /** Label of the file system. */
  readonly label: string;
  /** A folder whose files the file system gets. */
  readonly tree: string;
}

/** Room before the partition, as every partitioning program leaves it, and behind it for the backup of the table. */
const EDGE_BYTES = MIB;

/** Makes a sparse disk image: a GUID partition table with one ext4 file system in which real files lie. */
export async function makePartitionedDisk({ path, size, label, tree }: PartitionedDisk): Promise<void> {
  await makeSparseFile(path, size);
  const start = EDGE_BYTES / 512;
  const count = (size - 2 * EDGE_BYTES) / 512;
  const table = `label: gpt\nstart=${start}, size=${count}, type=linux, name="${label}"\n`;
  await runProgram("sfdisk", ["--quiet", "--no-reread", "--no-tell-kernel", path], "fdisk", table);
  await runProgram(
    "mke2fs",
    [
      ...["-q", "-F", "-t", "ext4", "-b", "4096", "-L", label, "-d", tree],
      // Lazy tables keep the image sparse; the kernel and e2fsck take unwritten ones as empty.
      ...["-E", `offset=${EDGE_BYTES},nodiscard,lazy_itable_init=1,lazy_journal_init=1`],
      path,
      `${(count * 512) / 1024}k`,
    ],
    "e2fsprogs",
  );
}

export async function makeSparseFile(path: string, size: number): Promise<void> {
  await using file = await open(path, "wx", 0o600);
  await file.truncate(size);
}
