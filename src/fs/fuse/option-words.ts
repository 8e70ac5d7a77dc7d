import { MOUNT_TYPE } from "../../mount-info.js";
import type { MountOptions } from "../fuse-driver.js";

const SUBTYPE = MOUNT_TYPE.slice("fuse.".length);

/**
 * The options of every mount that libfuse's code makes (fusermount3, and libfuse itself), to be joined by commas. Owner
 * and rootmode are its to choose: the real user, a directory.
 */
export function optionWords({ source, allowOther }: Pick<MountOptions, "source" | "allowOther">): string[] {
  const words = ["ro", "nosuid", "nodev", "noexec", "default_permissions"];
  words.push(`fsname=${escaped(source)}`, `subtype=${escaped(SUBTYPE)}`);
  return [...words, ...(allowOther ? ["allow_other"] : [])];
}

/** libfuse splits at commas and takes a backslash as "the next character is no separator" (fuse_opt.c). */
function escaped(value: string): string {
  return value.replace(/[\\,]/g, "\\$&");
}
