import type { Command } from "commander";
import type { RestoreResult } from "../restore/restore-to-pool.js";
import { printable } from "../printable.js";
import { type CommonOptions, withCommonOptions } from "./common-options.js";
import type { ProcessEdge } from "./context.js";
import { answer, size } from "./output.js";

interface RestoreFlags extends CommonOptions {
  readonly sr?: string;
  readonly name?: string;
}

const EXAMPLES = `
Examples:
  vmmount restore web01.xva --server pool1            as a new VM, into the pool's default storage
  vmmount restore web01.xva --server pool1 --sr "Local storage" --name web01-restored
  vmmount restore /restored/web01 --server pool1      from the folder that a mount showed: catalog.json, ova.xml, xvda.raw …

The VM is always a new one, with a UUID and network addresses of its own; one that exists is never touched.
An archive may be packed with gzip, or with zstd where the pool takes that.`;

export function addRestore(program: Command, edge: ProcessEdge): void {
  const command = program
    .command("restore")
    .alias("import")
    .summary("import a backup as a new VM into a Xen pool")
    .description("Imports an .xva archive, or the raw disks of a backup, as a new VM into a XenServer or XCP-ng pool.")
    .argument("<backup>", "an .xva file, or a folder with catalog.json, ova.xml and .raw disks")
    .option("--sr <name|uuid>", "storage repository for all disks (default: the pool's default one)")
    .option("--name <name>", "name of the new VM (default: as it was)")
    .addHelpText("after", EXAMPLES);
  withCommonOptions(command, "a server").action(async (backup: string, flags: RestoreFlags) => {
    const { createContext } = await import("./context.js");
    const { restoreToPool } = await import("../restore/restore-to-pool.js");
    const context = createContext(edge, flags);
    try {
      const options = { ...context, storage: flags.sr, name: flags.name, onProgress: context.onProgress };
      const result = await restoreToPool(backup, options);
      context.progress.stop();
      answer(context.terminal, result, () => describe(result));
    } finally {
      context.progress.stop();
    }
  });
}

function describe({ vms, storage, bytes }: RestoreResult): string {
  const lines = vms.map(({ uuid, name, isTemplate }) => {
    const made = `Imported "${printable(name)}" (uuid:${uuid})`;
    return isTemplate ? `${made} as a template: xe vm-param-set uuid=${uuid} is-a-template=false makes it a VM` : made;
  });
  return [...lines, `Sent ${size(bytes)} to storage repository "${printable(storage.name)}"`].join("\n");
}
