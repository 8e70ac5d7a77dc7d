import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../config.js";
import { ConfigError, errorChain, RefusedError } from "../errors.js";
import { parseLocator } from "../locator.js";
import type { VmIdentity } from "../hypervisor.js";
import type { Logger } from "../log.js";
import { mountName } from "../mount-name.js";
import { poolSourceOf, poolSourcePath } from "../pool-source.js";
import { askAgain } from "../server-retry.js";
import { isXenUrl } from "../xen-url.js";
import { chooseServer, type Connection, login, prepareConnection, type ServerChoice } from "./connection.js";
import { refuseForeignDirectory } from "./directory-owner.js";
import { resolveVm } from "./resolve-vm.js";

/** VCB's word for a backup of whole disks. */
const TYPE_VM = "fullvm";
/** What a pool knows of itself. */
const TYPE_POOL = "pool";

/** A directory for a mount that was given none. */
export interface MadeDirectory {
  readonly path: string;
  /** False: it was there already, and stays. */
  readonly isNew: boolean;
  /** The login that found the VM: it serves the mount as well. */
  readonly connection: Connection;
}

export interface MakeDirectoryOptions {
  readonly config: Config;
  readonly choice: ServerChoice;
  readonly session: string;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/**
 * Asks the server which VM is meant, and makes a directory below `mount.root` that is named after it.
 * @throws ConfigError or RefusedError when it cannot be made, and what finding a VM throws
 */
export async function makeDirectory(text: string, options: MakeDirectoryOptions): Promise<MadeDirectory> {
  const { config, choice, logger, signal, session } = options;
  const { settings } = config;
  const locator = parseLocator(text, new Set(config.servers.keys()), settings.lookup);
  const server = chooseServer(config, locator.server, choice);
  const source = isXenUrl(server.url) ? poolSourceOf(locator.form) : undefined;
  const connection = await prepareConnection(server, choice);
  const of = { server: connection.name, session };
  let name: string;
  if (source === undefined) {
    const asking = { settings, logger, signal };
    await using hypervisor = await login(connection, asking);
    const resolve = (): Promise<VmIdentity> =>
      resolveVm(hypervisor, { ...locator, server: connection.name }, { signal });
    const vm = await askAgain("Looking up the VM", resolve, asking);
    name = mountName(settings["mount.name"], { ...of, ...vm, instanceUuid: vm.instanceUuid, type: TYPE_VM });
  } else {
    const ref = poolSourcePath(source);
    name = mountName(settings["mount.name"], {
      ...of,
      ref,
      type: TYPE_POOL,
      name: ref.slice(1),
      instanceUuid: undefined,
    });
  }
  const path = join(settings["mount.root"], name);
  return { path, isNew: await made(settings["mount.root"], path), connection };
}

async function made(root: string, path: string): Promise<boolean> {
  try {
    await mkdir(root, { recursive: true, mode: 0o700 });
    await refuseForeignDirectory(root);
    await mkdir(path, { mode: 0o700 });
    return true;
  } catch (error) {
    if (error instanceof RefusedError) throw error;
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw new ConfigError(`Cannot make directory "${path}": ${errorChain(error)}`, {
      cause: error,
      hint: "Give a directory to mount on, or set mount.root",
    });
  }
}
