import type { Command } from "commander";
import type { PoolCatalog } from "../pool-catalog.js";
import { printable } from "../printable.js";
import { type CommonOptions, withCommonOptions } from "./common-options.js";
import type { ProcessEdge } from "./context.js";
import { answer, size, table } from "./output.js";

const EXAMPLES = `
Examples:
  vmmount export pool1:/meta-data /var/backups/pool1            database of the pool, records of every VM
  vmmount export pool1:/host-backup /var/backups/hosts          system disk of every host
  vmmount export pool1:/host-backup/xen03 /var/backups/xen03    of one

The files hold secrets (passwords of storage, keys): they are written with mode 0400. The same can be mounted:
vmmount mount pool1:/meta-data /mnt/backup`;

export function addExport(program: Command, edge: ProcessEdge): void {
  const command = program
    .command("export")
    .summary("write what a Xen pool keeps about itself into a folder")
    .description(
      "Writes the database of a Xen pool and the records of its VMs, or the system disks of its hosts, into a folder.",
    )
    .argument("<source>", "SERVER:/meta-data, SERVER:/host-backup or SERVER:/host-backup/HOST")
    .argument("<directory>", "a folder that does not exist yet, or is empty")
    .addHelpText("after", EXAMPLES);
  withCommonOptions(command, "a server").action(async (source: string, directory: string, flags: CommonOptions) => {
    const { createContext } = await import("./context.js");
    const { exportPoolSource } = await import("../mount/export-pool-source.js");
    const context = createContext(edge, flags);
    try {
      const catalog = await exportPoolSource(source, directory, { ...context, onProgress: context.onProgress });
      context.progress.stop();
      answer(context.terminal, catalog, () => describe(catalog, directory));
    } finally {
      context.progress.stop();
    }
  });
}

function describe({ files }: PoolCatalog, directory: string): string {
  const rows = files.map(({ file, about, bytes }) => [file, size(bytes), about]);
  return `${table(["FILE", "SIZE", "WHAT"], rows)}\nWritten to ${printable(directory)}; the files hold secrets`;
}
