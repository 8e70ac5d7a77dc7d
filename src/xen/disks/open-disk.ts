import { errorChain, IntegrityError, MissingCapabilityError, UsageError, VmmountError } from "../../errors.js";
import type { OpenDiskOptions, OpenedDisk } from "../../hypervisor.js";
import { loadAllocation, probeHoles } from "./allocation.js";
import type { CopyRoom } from "./copy-room.js";
import { copyDisk } from "./http-disk.js";
import { type NbdDiskScope, XenNbdDisk } from "./nbd-disk.js";
import type { XenVdi } from "./xen-vdi.js";

export interface OpenScope extends NbdDiskScope {
  readonly room: CopyRoom;
  /** Of the same VM, which are opened as well. */
  readonly others: readonly XenVdi[];
}

/**
 * Opens a disk of a pool: over NBD (the default), where any place can be read, or over HTTP, where it is copied first.
 * @throws MissingCapabilityError for a transport that the pool does not offer
 */
export async function openXenDisk(vdi: XenVdi, scope: OpenScope, options: OpenDiskOptions): Promise<OpenedDisk> {
  const { transport = "nbd" } = options;
  if (transport === "nbd") return await openOverNbd(vdi, scope, options);
  if (transport === "http") return await openOverHttp(vdi, scope, options);
  throw new MissingCapabilityError(`Cannot read ${vdi.shown} over ${transport}: hosts of Xen have nbd and http`);
}

async function openOverNbd(vdi: XenVdi, scope: OpenScope, options: OpenDiskOptions): Promise<OpenedDisk> {
  const { signal, allocation } = options;
  const source = await XenNbdDisk.open(vdi, scope, signal);
  try {
    const host = await source.place();
    scope.logger.debug(`Reading ${vdi.shown} over NBD`, { host });
    if (!(await source.isEncrypted())) {
      scope.logger.warn(`${vdi.shown} and the session of the pool go over the network in clear: ${host}`);
    }
    scope.room.notNeededFor(vdi);
    const text = allocation === "off" ? "not asked for" : await askAllocation(vdi, source, scope, signal);
    return { source, transport: "nbd", allocation: text };
  } catch (error) {
    await source[Symbol.asyncDispose]();
    throw error;
  }
}

async function askAllocation(
  vdi: XenVdi,
  source: XenNbdDisk,
  scope: NbdDiskScope,
  signal: AbortSignal,
): Promise<string> {
  const { map, text } = await loadAllocation(vdi, scope, signal);
  if (map === undefined) return text;
  try {
    await probeHoles(map, source, scope, signal);
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof VmmountError)) throw error;
    // A map that lies is worth nothing; a disk that cannot be read will say so again.
    scope.logger.warn(`The allocation map of ${vdi.shown} is not used: ${errorChain(error)}`);
    const reason = error instanceof IntegrityError ? error.message : "its holes cannot be probed";
    return `unknown: the allocation map cannot be used (${reason})`;
  }
  source.useMap(map);
  return `${text}, probed`;
}

async function openOverHttp(vdi: XenVdi, scope: OpenScope, options: OpenDiskOptions): Promise<OpenedDisk> {
  const { spoolDirectory: directory, signal, onProgress } = options;
  if (directory === undefined) {
    throw new UsageError(`Cannot read ${vdi.shown} over http: no directory was given where it can be kept`);
  }
  const neededBytes = await scope.room.neededFor(vdi, { disks: [vdi, ...scope.others], directory }, scope, signal);
  const source = await copyDisk(vdi, scope, { signal, onProgress, directory, neededBytes });
  return { source, transport: "http", allocation: "a copy in which zeros are holes" };
}
