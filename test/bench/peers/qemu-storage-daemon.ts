import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Contender } from "../contender.js";
import { Program } from "../programs.js";
import type { LocalMachine } from "../site.js";
import type { Workbench } from "../workbench.js";
import { hasSize, unmountLater } from "./mounted.js";

export const QEMU = "qemu-storage-daemon";

/** QEMU's FUSE export of a raw file. */
export function qemuStorageDaemon(bench: Workbench, machine: LocalMachine): Contender {
  return {
    name: QEMU,
    start: async (owner) => {
      const path = join(await bench.folder("qemu"), "image");
      // The export covers a regular file.
      await writeFile(path, "");
      const program = await Program.start(owner, QEMU, [
        "--blockdev",
        `driver=file,node-name=disk,filename=${machine.flat},read-only=on`,
        "--export",
        `type=fuse,id=export,node-name=disk,mountpoint=${path},writable=off`,
      ]);
      unmountLater(owner, path);
      await program.ready(() => hasSize(path, bench.options.diskBytes));
      return { path, pids: [program.pid] };
    },
  };
}
