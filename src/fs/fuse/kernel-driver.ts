import { close } from "node:fs";
import { readFile, realpath, stat } from "node:fs/promises";
import { endianness } from "node:os";
import { promisify } from "node:util";
import { BusyError, MissingCapabilityError, NotFoundError, UsageError } from "../../errors.js";
import { mount, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, pageSize } from "../../libc.js";
import type { Logger } from "../../log.js";
import { KIB, MIB } from "../../units.js";
import type { FileSystem } from "../filesystem.js";
import type { FuseDriver, Mounted, MountOptions } from "../fuse-driver.js";
import type { Negotiated } from "./init.js";
import { raiseReadAhead, READ_AHEAD_KIB } from "./kernel-controls.js";
import { KernelMount } from "./kernel-mount.js";
import { MOUNT_TYPE, readMountInfo, topMountAt } from "../../mount-info.js";
import { openFuseDevice } from "./open-device.js";
import { deviceBackingFiles } from "./passthrough.js";
import { Replies } from "./replies.js";
import { Session } from "./session.js";

const closeDescriptor = promisify(close);

/** The kernel sends INIT during mount(2): without it by now, nothing works. */
const INIT_MS = 10_000;

export interface KernelFuseOptions {
  readonly logger: Logger;
  /** @default "/dev/fuse" */
  readonly device?: string | undefined;
  /** "auto": the kernel reads local files by itself where it can (Linux 6.9). @default "auto" */
  readonly passthrough?: "auto" | "off" | undefined;
}

/**
 * Speaks the FUSE protocol with the kernel directly: no libfuse, requests of 1 MiB, SEEK_HOLE. Needs root.
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
  { logger, device: path, passthrough = "auto" }: KernelFuseOptions,
  filesystem: FileSystem,
  where: string,
  options: MountOptions,
): Promise<Mounted> {
  if (endianness() !== "LE")
    throw new MissingCapabilityError("Cannot mount: only little-endian machines are supported");
  const target = await mountPoint(where);
  const fd = await openFuseDevice(path);
  let device: string;
  try {
    await mountDevice(fd, target, options);
    device = await deviceOf(target);
  } catch (error) {
    await closeDescriptor(fd);
    throw error;
  }
  const limits = { pageSize: pageSize(), maxPagesLimit: await maxPagesLimit(), passthrough: passthrough === "auto" };
  const replies = new Replies(fd, logger);
  const session = new Session({ filesystem, limits, logger, replies, backing: deviceBackingFiles(fd) });
  const mounted = new KernelMount({ fd, where: target, device, session, logger });
  try {
    const agreed = await initialised(session, mounted, target);
    mounted.description = describe(agreed, await raiseReadAhead(device, logger));
    return mounted;
  } catch (error) {
    await mounted.abandon();
    throw error;
  }
}

/** The directory as the kernel will list it. Asked before mounting: afterwards the path leads to ourselves. */
async function mountPoint(where: string): Promise<string> {
  try {
    const target = await realpath(where);
    if ((await stat(target)).isDirectory()) return target;
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === "ENOENT") throw new NotFoundError(`Cannot mount at ${where}: there is no such directory`, { cause });
    if (code !== "ENOTCONN") throw cause;
    const hint = `Remove it with "umount -l ${where}"`;
    throw new BusyError(`Cannot mount at ${where}: the mount of a dead process is there`, { cause, hint });
  }
  throw new UsageError(`Cannot mount at ${where}: it is not a directory`);
}

/** default_permissions makes the kernel check mode bits: otherwise all who may enter may read everything. */
async function mountDevice(fd: number, target: string, options: MountOptions): Promise<void> {
  const words = [`fd=${fd}`, "rootmode=40000", `user_id=${options.uid}`, `group_id=${options.gid}`];
  words.push("default_permissions", ...(options.allowOther ? ["allow_other"] : []));
  const flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
  try {
    await mount({ source: options.source, target, type: MOUNT_TYPE, flags, data: words.join(",") });
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "";
    if (code !== "EPERM" && code !== "ENODEV") throw cause;
    const hint = "Run as root; a container needs CAP_SYS_ADMIN and an AppArmor profile that allows mounts";
    throw new MissingCapabilityError(`Cannot mount at ${target}: ${code}`, { cause, hint });
  }
}

async function deviceOf(target: string): Promise<string> {
  const found = topMountAt(await readMountInfo(), target);
  if (found?.type === MOUNT_TYPE) return found.device;
  throw new BusyError(`Cannot mount at ${target}: somebody else mounted over it at the same time`);
}

/** Linux 6.13 and later; before, the limit is 256 pages. */
async function maxPagesLimit(): Promise<number | undefined> {
  const text = await readFile("/proc/sys/fs/fuse/max_pages_limit", "utf8").catch(() => "");
  return text === "" ? undefined : Number.parseInt(text, 10);
}

async function initialised(session: Session, mounted: Mounted, target: string): Promise<Negotiated> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new MissingCapabilityError(`Cannot mount at ${target}: the kernel did not start the FUSE connection`));
    }, INIT_MS);
  });
  const ended = mounted.closed.then(() => {
    throw new BusyError(`Cannot mount at ${target}: it was unmounted at once by somebody else`);
  });
  try {
    return await Promise.race([session.ready, ended, late]);
  } finally {
    clearTimeout(timer);
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
