import { close } from "node:fs";
import { readFile } from "node:fs/promises";
import { endianness } from "node:os";
import { promisify } from "node:util";
import { BusyError, MissingCapabilityError } from "../../errors.js";
import { pageSize } from "../../libc.js";
import type { Logger } from "../../log.js";
import { MOUNT_TYPE, type MountInfo, readMountInfo, topMountAt } from "../../mount-info.js";
import { KIB, MIB } from "../../units.js";
import type { FileSystem } from "../filesystem.js";
import type { FuseDriver, Mounted, MountOptions } from "../fuse-driver.js";
import { startedInTime } from "./connection-start.js";
import { DeviceServer } from "./device-server.js";
import type { Negotiated } from "./init.js";
import { raiseReadAhead, READ_AHEAD_KIB } from "./kernel-controls.js";
import { fusermountCalls } from "./fusermount.js";
import type { MountCalls } from "./mount-calls.js";
import { mountPoint } from "./mount-point.js";
import { mountCalls } from "./mount-rights.js";
import { deviceBackingFiles } from "./passthrough.js";
import { Replies } from "./replies.js";
import { ServedMount } from "./served-mount.js";
import { Session } from "./session.js";

const closeDescriptor = promisify(close);

export interface KernelFuseOptions {
  readonly logger: Logger;
  /** @default "/dev/fuse" */
  readonly device?: string | undefined;
  /** "auto": the kernel reads local files by itself where it can (Linux 6.9). @default "auto" */
  readonly passthrough?: "auto" | "off" | undefined;
  /** Who mounts: this process where it may (CAP_SYS_ADMIN), else fusermount3. @default "auto" */
  readonly mounter?: "auto" | "fusermount" | undefined;
  /** The newest minor of protocol 7 to speak, so that a new kernel can stand for an old one. @default as new as the kernel's */
  readonly minorMax?: number | undefined;
}

/**
 * Speaks the FUSE protocol with the kernel directly: no libfuse, requests of 1 MiB, SEEK_HOLE. A normal user
 * needs fusermount3.
 *
 * The process that serves a mount must never touch a path inside it, and cannot exit while it is mounted: end with
 * `unmount()` or `abandon()`. It needs threads of the libuv pool, see DEVICE_READERS in device.ts.
 */
export function kernelFuseDriver(options: KernelFuseOptions): FuseDriver {
  return {
    mount: (filesystem, where, mountOptions) => mountThroughKernel(options, filesystem, where, mountOptions),
  };
}

async function mountThroughKernel(
  { logger, device: path, passthrough = "auto", mounter = "auto", minorMax }: KernelFuseOptions,
  filesystem: FileSystem,
  where: string,
  options: MountOptions,
): Promise<Mounted> {
  if (endianness() !== "LE")
    throw new MissingCapabilityError("Cannot mount: only little-endian machines are supported");
  const target = await mountPoint(where);
  const calls = mounter === "fusermount" ? fusermountCalls() : await mountCalls(path);
  const fd = await calls.mount(target, options);
  let mount: MountInfo;
  try {
    mount = await ownMountAt(target);
  } catch (error) {
    await closeDescriptor(fd);
    throw error;
  }
  const session = new Session({
    filesystem,
    limits: {
      pageSize: pageSize(),
      maxPagesLimit: await maxPagesLimit(),
      passthrough: passthrough === "auto" && calls.isPrivileged,
      minorMax,
    },
    logger,
    replies: new Replies(fd, logger),
    backing: deviceBackingFiles(fd),
    reads: { bytesMax: options.replyBytesMax },
  });
  const mounted = new ServedMount({ mount, calls, server: new DeviceServer(fd, session), logger });
  try {
    const agreed = await initialised(session, mounted, target);
    mounted.description = describe(agreed, await largerReadAhead(calls, mount.device, logger));
    return mounted;
  } catch (error) {
    await mounted.abandon();
    throw error;
  }
}

/** @returns whether it is larger now */
async function largerReadAhead(calls: MountCalls, device: string, logger: Logger): Promise<boolean> {
  if (calls.isPrivileged) return await raiseReadAhead(device, logger);
  logger.info("Only root can raise the kernel's read-ahead and have local files read by the kernel itself");
  return false;
}

async function ownMountAt(target: string): Promise<MountInfo> {
  const found = topMountAt(await readMountInfo(), target);
  if (found?.type === MOUNT_TYPE) return found;
  throw new BusyError(`Cannot mount at ${target}: somebody else mounted over it at the same time`);
}

/** Linux 6.13 and later; before, the limit is 256 pages. */
async function maxPagesLimit(): Promise<number | undefined> {
  const text = await readFile("/proc/sys/fs/fuse/max_pages_limit", "utf8").catch(() => "");
  return text === "" ? undefined : Number.parseInt(text, 10);
}

async function initialised(session: Session, mounted: Mounted, target: string): Promise<Negotiated> {
  const ended = mounted.closed.then(() => {
    throw new BusyError(`Cannot mount at ${target}: it was unmounted at once by somebody else`);
  });
  try {
    return await startedInTime(target, Promise.race([session.ready, ended]));
  } finally {
    ended.catch(() => undefined);
  }
}

function describe(agreed: Negotiated, readAheadRaised: boolean): string {
  const readAhead = readAheadRaised ? READ_AHEAD_KIB * KIB : 128 * KIB;
  const facts = [
    `kernel FUSE 7.${agreed.minor}`,
    `reads up to ${sizeText(agreed.readBytesMax)}`,
    `read-ahead ${sizeText(readAhead)}`,
    ...(agreed.passthrough ? ["passthrough of local files"] : []),
  ];
  return facts.join(", ");
}

function sizeText(size: number): string {
  return size % MIB === 0 ? `${size / MIB} MiB` : `${size / KIB} KiB`;
}
