import { spawn } from "node:child_process";
import { close, constants } from "node:fs";
import { access, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { BusyError, MissingCapabilityError, RefusedError, type VmmountError } from "../../errors.js";
import { receiveDescriptor, socketPair } from "../../libc.js";
import { readMountInfo, topMountAt } from "../../mount-info.js";
import type { MountOptions } from "../fuse-driver.js";
import type { MountCalls } from "./mount-calls.js";
import { checkFuseDevice } from "./open-device.js";
import { optionWords } from "./option-words.js";

const closeDescriptor = promisify(close);

/** libfuse 3's name, then libfuse 2's: both speak the same protocol. */
const PROGRAMS = ["fusermount3", "fusermount"];

/** It makes a handful of system calls; only a mount point on a dead network file system makes it wait. */
const RUN_MS_MAX = 30_000;

const CONFIGURATION = "/etc/fuse.conf";

/** Its messages are one line each. */
const COMPLAINT_CHARS_MAX = 2000;

/** The descriptor's number in the child: the first after stdio. */
const CHILD_SOCKET = 3;

/** The setuid program of libfuse, which mounts for normal users and passes the connected device to them. */
export function fusermountCalls(): MountCalls {
  return {
    isPrivileged: false,
    check: async (target, { allowOther }) => {
      await runFusermount(["--version"], "ignore");
      await checkFuseDevice();
      await access(target, constants.W_OK).catch(() => {
        throw fusermountError("mount", target, `user has no write access to mountpoint ${target}`);
      });
      if (allowOther && process.getuid?.() !== 0 && (await othersAreForbidden())) {
        throw fusermountError("mount", target, "option allow_other only allowed if 'user_allow_other' is set");
      }
    },
    mount: mountThroughFusermount,
    unmount: async (target) => {
      const ended = await runFusermount(["-u", "--", target], "ignore");
      if (ended.code !== 0) throw fusermountError("unmount", target, ended.complaint);
    },
    detach: async (target) => {
      const ended = await runFusermount(["-u", "-z", "--", target], "ignore");
      if (ended.code === 0 || topMountAt(await readMountInfo(), target) === undefined) return;
      throw fusermountError("unmount", target, ended.complaint);
    },
  };
}

/** Unknown counts as allowed: fusermount3 itself has the last word. */
async function othersAreForbidden(): Promise<boolean> {
  const text = await readFile(CONFIGURATION, "utf8").catch(() => undefined);
  return text !== undefined && !/^\s*user_allow_other\s*$/m.test(text);
}

/**
 * libfuse's protocol (its lib/mount.c): one end of a socket pair is inherited, _FUSE_COMMFD holds its number; after
 * mounting, fusermount3 sends one byte with the descriptor and exits with 0. On failure it exits with 1 and a message.
 */
async function mountThroughFusermount(target: string, options: MountOptions): Promise<number> {
  const [ours, theirs] = socketPair();
  try {
    const ended = await runFusermount(["-o", optionWords(options).join(","), "--", target], theirs);
    if (ended.code !== 0) throw fusermountError("mount", target, ended.complaint);
    // It has exited: the descriptor lies in the socket's queue.
    const fd = receiveDescriptor(ours);
    if (fd !== undefined) return fd;
    throw new MissingCapabilityError(`Cannot mount at ${target}: fusermount3 passed no device: ${ended.complaint}`);
  } finally {
    await Promise.all([closeDescriptor(ours), closeDescriptor(theirs)]);
  }
}

interface Ended {
  readonly code: number | null;
  readonly complaint: string;
}

async function runFusermount(args: readonly string[], socket: number | "ignore"): Promise<Ended> {
  for (const program of PROGRAMS) {
    const ended = await run(program, args, socket);
    if (ended !== undefined) return ended;
  }
  throw new MissingCapabilityError("Cannot mount or unmount as a normal user: fusermount3 is not installed", {
    hint: process.getuid?.() === 0 ? "Give this container CAP_SYS_ADMIN" : "Install the Debian package fuse3",
  });
}

/** Undefined when there is no such program. */
function run(program: string, args: readonly string[], socket: number | "ignore"): Promise<Ended | undefined> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      // The caller's directory may be the mount itself.
      cwd: "/",
      stdio: ["ignore", "ignore", "pipe", socket],
      env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin", LC_ALL: "C", _FUSE_COMMFD: String(CHILD_SOCKET) },
      timeout: RUN_MS_MAX,
      killSignal: "SIGKILL",
    });
    let complaint = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      complaint = (complaint + text).slice(-COMPLAINT_CHARS_MAX);
    });
    child.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") resolve(undefined);
      else reject(new MissingCapabilityError(`Cannot run ${program}: ${error.message}`, { cause: error }));
    });
    child.once("close", (code, signal) => {
      const silent = signal === null ? "it gave no reason" : `it was ended by ${signal}`;
      resolve({ code, complaint: complaint.trim() === "" ? silent : complaint.trim() });
    });
  });
}

type ErrorClass = typeof BusyError | typeof MissingCapabilityError | typeof RefusedError;

/** What its messages (util/fusermount.c of libfuse) mean, and what to do about each. */
const MEANINGS: readonly (readonly [RegExp, ErrorClass, string | undefined])[] = [
  [/busy/i, BusyError, "Close the files and leave the directory"],
  [
    /user_allow_other/,
    MissingCapabilityError,
    'Write the line "user_allow_other" into /etc/fuse.conf (as root), or mount without --allow-other',
  ],
  [
    /no write access to mountpoint|not owned by user/,
    RefusedError,
    "A normal user may mount only on a directory of his own that he can write to",
  ],
  [/mounting over filesystem type/, RefusedError, "Use a directory on an ordinary file system such as ext4 or xfs"],
  [/mount_max/, MissingCapabilityError, "Unmount something, or raise mount_max in /etc/fuse.conf (as root)"],
  [
    /fuse device not found/,
    MissingCapabilityError,
    'Load the module with "modprobe fuse"; in a container, pass the device in (--device /dev/fuse)',
  ],
  [
    /\/dev\/fuse: Permission denied/,
    MissingCapabilityError,
    'Let users open the device, as udev does: "chmod 666 /dev/fuse" (as root)',
  ],
  [/determine username/, MissingCapabilityError, "This user needs an entry in /etc/passwd or whatever replaces it"],
  [
    /Operation not permitted|must be setuid/i,
    MissingCapabilityError,
    "fusermount3 must be setuid root; a container must allow setuid programs and mounts (CAP_SYS_ADMIN)",
  ],
];

/** @param complaint what fusermount3 wrote to stderr */
export function fusermountError(action: "mount" | "unmount", target: string, complaint: string): VmmountError {
  const [, Failure, hint] = MEANINGS.find(([pattern]) => pattern.test(complaint)) ?? [];
  const reason = complaint.replace(/^fusermount3?: /gm, "").replace(/\n/g, "; ");
  return new (Failure ?? MissingCapabilityError)(`Cannot ${action} at ${target}: ${reason}`, { hint });
}
