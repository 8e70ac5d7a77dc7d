import { readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { BusyError, MissingCapabilityError, UsageError } from "../../errors.js";
import type { Logger } from "../../log.js";
import { MOUNT_TYPE, readMountInfo, topMountAt } from "../../mount-info.js";
import type { FileSystem } from "../filesystem.js";
import type { FuseDriver, Mounted, MountOptions } from "../fuse-driver.js";
import { startedInTime } from "../fuse/connection-start.js";
import { directMountCalls } from "../fuse/direct-mount.js";
import { raiseReadAhead, READ_AHEAD_KIB } from "../fuse/kernel-controls.js";
import type { MountCalls } from "../fuse/mount-calls.js";
import { mountPoint } from "../fuse/mount-point.js";
import { hasSysAdmin } from "../fuse/mount-rights.js";
import { checkFuseDevice } from "../fuse/open-device.js";
import { ServedMount } from "../fuse/served-mount.js";
import { fuseDescriptors } from "./fuse-descriptor.js";
import { LibfuseServer } from "./libfuse-server.js";
import { libfuseOptions } from "./mount-options.js";
import { ServedFileSystem } from "./native-operations.js";
import { loadFuseNative, type NativeFuse, type NativeFusePackage } from "./package.js";

/** fuse-native copies the path into 1024 bytes and would mount at what fits. */
const PATH_BYTES_MAX = 1023;

export interface FuseNativeOptions {
  readonly logger: Logger;
}

/**
 * Mounts through libfuse 2, by the npm package fuse-native: for machines on which the kernel driver does not work. What it
 * cannot do: tell readers where the holes are (SEEK_DATA, SEEK_HOLE), take requests of more than 128 KiB, free a reader
 * that is killed in a page fault before that read ends. Needs root.
 *
 * The process that serves a mount must never touch a path inside it.
 */
export function fuseNativeDriver(options: FuseNativeOptions): FuseDriver {
  return {
    mount: (filesystem, where, mountOptions) => mountThroughLibfuse(options, filesystem, where, mountOptions),
  };
}

async function mountThroughLibfuse(
  { logger }: FuseNativeOptions,
  filesystem: FileSystem,
  where: string,
  options: MountOptions,
): Promise<Mounted> {
  const Fuse = await checkFuseNative();
  checkUser(options);
  const target = await mountPoint(where);
  checkLength(target, where);
  const text = libfuseOptions(options);
  const served = new ServedFileSystem(filesystem, logger, options.replyBytesMax);
  // No time-out of the package's: it would answer for a read that still runs, and the block stack has limits of its own.
  const fuse = new Fuse(target, served, { timeout: false });
  fuse._fuseOptions = () => text;
  // The package unmounts lazily even under open files: what it has mounted is unmounted as the kernel driver's mounts are.
  const calls = directMountCalls();
  const before = await fuseDescriptors();
  await started(fuse, target, calls);
  const fds = [...(await fuseDescriptors())].filter((fd) => !before.has(fd));
  const mount = topMountAt(await readMountInfo(), target);
  const [fd] = fds;
  if (fd === undefined || fds.length > 1 || mount?.type !== MOUNT_TYPE) {
    await calls.detach(target);
    throw new BusyError(`Cannot mount at ${target}: somebody else mounted at the same time`);
  }
  const readAhead = (await raiseReadAhead(mount.device, logger)) ? `${READ_AHEAD_KIB / 1024} MiB` : "128 KiB";
  const server = new LibfuseServer({ fuse, fd, served });
  const mounted = new ServedMount({ mount, calls, server, logger });
  mounted.description = `fuse-native (libfuse 2), reads up to 128 KiB, read-ahead ${readAhead}, holes are not shown`;
  return mounted;
}

/**
 * What this driver needs of the machine and of the user.
 * @returns the package
 * @throws MissingCapabilityError
 */
export async function checkFuseNative(): Promise<NativeFusePackage> {
  const loaded = await loadFuseNative();
  if (!hasSysAdmin(await readFile("/proc/self/status", "utf8"))) {
    const hint = "Leave --fuse-driver out: the kernel driver works for a normal user too";
    throw new MissingCapabilityError('Cannot use the FUSE driver "fuse-native": it needs root', { hint });
  }
  await checkFuseDevice();
  return loaded;
}

/** libfuse lets only the user in who runs this process. */
function checkUser({ uid, gid }: MountOptions): void {
  if (uid === process.getuid?.() && gid === process.getgid?.()) return;
  throw new UsageError(`Cannot mount for user ${uid}, group ${gid}: fuse-native mounts for the user that runs it only`);
}

/** @throws UsageError when fuse-native would mount somewhere else */
function checkLength(target: string, where: string): void {
  if (Buffer.byteLength(target) <= PATH_BYTES_MAX) return;
  throw new UsageError(`Cannot mount at ${where}: fuse-native takes paths of at most ${PATH_BYTES_MAX} bytes`);
}

/** Resolves when the kernel has started the connection. */
async function started(fuse: NativeFuse, target: string, calls: MountCalls): Promise<void> {
  try {
    await startedInTime(target, promisify(fuse.mount.bind(fuse))());
  } catch (cause) {
    if (cause instanceof MissingCapabilityError) {
      await calls.detach(target);
      throw cause;
    }
    const { message } = cause as Error;
    if (message === "Mountpoint in use") {
      const hint = "Use a directory inside of it: fuse-native mounts on no root of a file system";
      throw new BusyError(`Cannot mount at ${target}: a file system is mounted there`, { cause, hint });
    }
    const hint = "Run as root; a container needs CAP_SYS_ADMIN and an AppArmor profile that allows mounts";
    throw new MissingCapabilityError(`Cannot mount at ${target}: libfuse says "${message}"`, { cause, hint });
  }
}
