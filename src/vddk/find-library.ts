import { realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { MissingCapabilityError } from "../errors.js";

/** Major versions of the library, newest first; 6 is 6.5 and 6.7. */
const MAJORS = [9, 8, 7, 6] as const;

/** Where VMware's installer and everybody's habits put the distribution. */
const USUAL_FOLDERS = [
  "/usr/lib/vmware-vix-disklib",
  "/usr/lib64/vmware-vix-disklib",
  "/opt/vmware-vix-disklib-distrib",
  "/opt/vmware-vix-disklib",
] as const;

export interface VddkLibrary {
  /** What InitEx wants: the folder that has lib64 in it. */
  readonly root: string;
  /** Everything that the library brings. */
  readonly lib64: string;
  readonly main: string;
  /** The transports: InitEx loads it by itself, too late to say how. */
  readonly plugin: string;
  /** Of the file, such as "8.0.1"; the major version alone when the file is called no better. */
  readonly version: string;
}

const DOWNLOAD =
  "Download the Virtual Disk Development Kit (VDDK) for Linux from Broadcom, unpack it, and set vddk.libdir to the folder " +
  "vmware-vix-disklib-distrib; without it, the transport https needs no library";

/**
 * Finds VMware's library.
 * @param libdir as configured; empty = the usual folders
 * @throws MissingCapabilityError that says what to download and where to put it
 */
export async function findVddk(libdir: string): Promise<VddkLibrary> {
  if (process.arch !== "x64") {
    throw new MissingCapabilityError(`Cannot use VDDK on ${process.arch}: VMware makes it for x86-64 only`);
  }
  const folders = libdir === "" ? USUAL_FOLDERS : [libdir];
  for (const folder of folders) {
    const found = await libraryIn(folder);
    if (found !== undefined) return found;
  }
  if (libdir === "") {
    throw new MissingCapabilityError(`Cannot find VDDK in ${USUAL_FOLDERS.join(", ")}`, { hint: DOWNLOAD });
  }
  throw new MissingCapabilityError(await whyNot(libdir), { hint: DOWNLOAD });
}

/** Whether one could be found, without saying why not. */
export async function hasVddk(libdir: string): Promise<boolean> {
  return await findVddk(libdir).then(
    () => true,
    () => false,
  );
}

async function libraryIn(root: string): Promise<VddkLibrary | undefined> {
  const lib64 = join(root, "lib64");
  for (const major of MAJORS) {
    const main = join(lib64, `libvixDiskLib.so.${major}`);
    const plugin = join(lib64, "libdiskLibPlugin.so");
    if (!(await isFile(main)) || !(await isFile(plugin))) continue;
    const version = /\.so\.(\d+(?:\.\d+){1,2})$/.exec(await realpath(main))?.[1] ?? String(major);
    return { root, lib64, main, plugin, version };
  }
  return undefined;
}

async function whyNot(libdir: string): Promise<string> {
  const cannot = `Cannot use vddk.libdir "${libdir}"`;
  if (!(await exists(libdir))) return `${cannot}: there is no such folder`;
  if (/\/lib64\/*$/.test(libdir)) return `${cannot}: it must be the folder above lib64`;
  if (!(await exists(join(libdir, "lib64")))) return `${cannot}: it has no folder lib64`;
  for (const major of MAJORS) {
    if (await exists(join(libdir, "lib64", `libvixDiskLib.so.${major}`))) {
      return `${cannot}: lib64/libdiskLibPlugin.so is missing, which has the transports`;
    }
  }
  if (await exists(join(libdir, "lib64", "libvixDiskLib.so.5"))) {
    return `${cannot}: it is VDDK 5, and 6.5 is the oldest that can be used`;
  }
  return `${cannot}: lib64 has no libvixDiskLib.so.${MAJORS.at(-1) ?? ""} or later`;
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() === true;
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
