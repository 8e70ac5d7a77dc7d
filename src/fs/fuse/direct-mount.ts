import { close } from "node:fs";
import { promisify } from "node:util";
import { BusyError, MissingCapabilityError } from "../../errors.js";
import {
  MNT_DETACH,
  MNT_FORCE,
  mount,
  MS_NODEV,
  MS_NOEXEC,
  MS_NOSUID,
  MS_RDONLY,
  SystemCallError,
  umount,
  UMOUNT_NOFOLLOW,
} from "../../libc.js";
import { MOUNT_TYPE } from "../../mount-info.js";
import type { MountOptions } from "../fuse-driver.js";
import type { MountCalls } from "./mount-calls.js";
import { checkFuseDevice, openFuseDevice } from "./open-device.js";

const closeDescriptor = promisify(close);

/** mount(2) and umount2(2), for processes with CAP_SYS_ADMIN. */
export function directMountCalls(device?: string): MountCalls {
  return {
    isPrivileged: true,
    check: () => checkFuseDevice(device),
    mount: async (target, options) => {
      const fd = await openFuseDevice(device);
      try {
        await mountDevice(fd, target, options);
        return fd;
      } catch (error) {
        await closeDescriptor(fd);
        throw error;
      }
    },
    unmount: async (target) => {
      try {
        await umount(target, UMOUNT_NOFOLLOW);
      } catch (cause) {
        if (codeOf(cause) !== "EBUSY") throw cause;
        const hint = `Close the files and leave the directory: "fuser -vm ${target}" shows who uses it`;
        throw new BusyError(`Cannot unmount ${target}: it is in use`, { cause, hint });
      }
    },
    detach: (target) => forcibly(target, MNT_DETACH),
    // Aborts the connection, but a mount with open files stays where it is.
    force: (target) => forcibly(target, MNT_FORCE),
  };
}

async function forcibly(target: string, flag: number): Promise<void> {
  try {
    await umount(target, flag | UMOUNT_NOFOLLOW);
  } catch (error) {
    // EBUSY is what forcing says when files are open; EINVAL: somebody else unmounted it in between.
    if (!["EBUSY", "EINVAL"].includes(codeOf(error))) throw error;
  }
}

/** default_permissions makes the kernel check mode bits: otherwise all who may enter may read everything. */
async function mountDevice(fd: number, target: string, options: MountOptions): Promise<void> {
  const words = [`fd=${fd}`, "rootmode=40000", `user_id=${options.uid}`, `group_id=${options.gid}`];
  words.push("default_permissions", ...(options.allowOther ? ["allow_other"] : []));
  const flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
  try {
    await mount({ source: options.source, target, type: MOUNT_TYPE, flags, data: words.join(",") });
  } catch (cause) {
    const code = codeOf(cause);
    if (code !== "EPERM" && code !== "ENODEV") throw cause;
    const hint = "A container needs CAP_SYS_ADMIN and an AppArmor profile that allows mounts";
    throw new MissingCapabilityError(`Cannot mount at ${target}: ${code}`, { cause, hint });
  }
}

function codeOf(error: unknown): string {
  return error instanceof SystemCallError ? error.code : "";
}
