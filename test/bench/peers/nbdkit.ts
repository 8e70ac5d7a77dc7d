import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { CleanupStack } from "../../../src/cleanup.js";
import type { Contender, Started } from "../contender.js";
import type { LabAddress } from "../lab-address.js";
import { Program } from "../programs.js";
import type { LocalMachine } from "../site.js";
import type { Workbench } from "../workbench.js";
import { hasSize, unmountLater } from "./mounted.js";

export const NBDKIT_CURL = "nbdkit curl + nbdfuse";
export const NBDKIT_CURL_AHEAD = "nbdkit curl, readahead + nbdfuse";

/** A local file. */
export function nbdkitFile(bench: Workbench, machine: LocalMachine): Contender {
  return { name: "nbdkit file + nbdfuse", start: (owner) => throughNbd(bench, owner, ["file", machine.flat]) };
}

/** The file on the datastore, over https. @param filters nbdkit's own, such as readahead */
export function nbdkitCurl(bench: Workbench, lab: LabAddress, filters: readonly "readahead"[]): Contender {
  return {
    name: filters.length === 0 ? NBDKIT_CURL : NBDKIT_CURL_AHEAD,
    start: async (owner) => {
      const cookies = join(await bench.folder("cookies"), "cookies");
      // In a file, since arguments can be read by everybody.
      await writeFile(cookies, lab.cookieFile, { mode: 0o600 });
      return throughNbd(bench, owner, [
        ...filters.map((filter) => `--filter=${filter}`),
        "curl",
        `url=${lab.denseUrl}`,
        `cookiefile=${cookies}`,
        `cainfo=${lab.certificatePath}`,
      ]);
    },
  };
}

async function throughNbd(bench: Workbench, owner: CleanupStack, plugin: readonly string[]): Promise<Started> {
  const folder = await bench.folder("nbd");
  const socket = join(folder, "socket");
  const nbdkit = await Program.start(owner, "nbdkit", ["--foreground", "--readonly", "--unix", socket, ...plugin]);
  await nbdkit.ready(() => hasSize(socket, 0));
  const mountPoint = await bench.folder("nbdfuse");
  const path = join(mountPoint, "image");
  const nbdfuse = await Program.start(owner, "nbdfuse", ["--readonly", path, "--unix", socket]);
  unmountLater(owner, mountPoint);
  await nbdfuse.ready(() => hasSize(path, bench.options.diskBytes));
  return { path, pids: [nbdkit.pid, nbdfuse.pid] };
}
