import { mkdir, readdir, readFile, symlink } from "node:fs/promises";
import { basename, join } from "node:path";

/**
 * What the dynamic linker shall search for the library's own libraries: a folder of links to all of them but those that Node has
 * loaded in a version of its own. VMware brings libstdc++.so.6, libcrypto.so.3 and more; found first, they would be Node's, which does not
 * start with a libstdc++ older than its own. Loaded is loaded: the library then gets Node's as well where the names are the same.
 * @param folder to be made
 * @param mapped lines of /proc/PID/maps of a process of the same program
 */
export async function makeLibraryPath(lib64: string, folder: string, mapped?: string): Promise<void> {
  const maps = mapped ?? (await readFile("/proc/self/maps", "utf8"));
  const own = new Set(maps.split("\n").flatMap((line) => soname(basename(line.slice(line.indexOf("/")))) ?? []));
  await mkdir(folder, { mode: 0o700 });
  for (const entry of await readdir(lib64)) {
    const name = soname(entry);
    if (name !== undefined && !own.has(name)) await symlink(join(lib64, entry), join(folder, entry));
  }
}

/** `libstdc++.so.6` of `libstdc++.so.6.0.30`: what programs ask for. Undefined for what is no shared library. */
function soname(file: string): string | undefined {
  return /^.+?\.so(?:\.\d+)?/.exec(file)?.[0];
}
