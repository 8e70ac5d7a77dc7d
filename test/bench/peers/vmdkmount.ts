import { join } from "node:path";
import type { Contender } from "../contender.js";
import { Program } from "../programs.js";
import type { LocalMachine } from "../site.js";
import type { Workbench } from "../workbench.js";
import { hasSize, unmountLater } from "./mounted.js";

/** libvmdk's FUSE mount of a descriptor. */
export function vmdkmount(bench: Workbench, machine: LocalMachine): Contender {
  return {
    name: "vmdkmount",
    start: async (owner) => {
      const mountPoint = await bench.folder("vmdkmount");
      const path = join(mountPoint, "vmdk1");
      // Only with -v does it stay in the foreground, where its process is known; it writes nothing while it reads.
      const program = await Program.start(owner, "vmdkmount", ["-v", machine.descriptor, mountPoint]);
      unmountLater(owner, mountPoint);
      await program.ready(() => hasSize(path, bench.options.diskBytes));
      return { path, pids: [program.pid] };
    },
  };
}
