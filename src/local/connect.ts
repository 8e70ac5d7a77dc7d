import { dirUrl, folderOfDirUrl } from "../dir-url.js";
import type { Hypervisor } from "../hypervisor.js";
import type { Logger } from "../log.js";
import { LocalFolder } from "./hypervisor.js";
import { LocalRoot } from "./root.js";

/**
 * Opens a folder of VMs.
 * @param url `dir:///srv/vms`
 * @throws NotFoundError, AuthError
 */
export async function openLocalFolder(url: string, logger: Logger): Promise<Hypervisor> {
  const folder = folderOfDirUrl(url);
  const root = await LocalRoot.open(folder);
  const identity = {
    kind: "dir" as const,
    url: dirUrl(folder),
    product: "folder of VMs",
    version: "",
    instanceUuid: undefined,
  };
  return new LocalFolder({ identity, root, logger });
}
