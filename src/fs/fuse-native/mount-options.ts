import { UsageError } from "../../errors.js";
import { MOUNT_TYPE } from "../../mount-info.js";
import type { MountOptions } from "../fuse-driver.js";

/** The tree never changes while mounted, so the kernel may keep names and attributes: a day, in seconds. */
const VALID_SECONDS = 24 * 3600;

/** Reads that the kernel sends ahead of need at once: 64 of 128 KiB cover 20 ms of latency at 400 MB/s. */
const BACKGROUND_MAX = 64;

/** fuse-native copies the text into 1024 bytes and silently drops the rest, which could be "ro". */
const OPTIONS_BYTES_MAX = 1023;

/**
 * The option text for libfuse 2. Unlike the kernel driver's, it cannot name the user who may enter: libfuse takes the
 * one that runs this process.
 * @throws UsageError when it does not fit into fuse-native's buffer
 */
export function libfuseOptions({ source, allowOther }: Pick<MountOptions, "source" | "allowOther">): string {
  const words = ["ro", "nosuid", "nodev", "noexec", "default_permissions"];
  if (allowOther) words.push("allow_other");
  words.push(`fsname=${escaped(source)}`, `subtype=${escaped(MOUNT_TYPE.slice("fuse.".length))}`);
  words.push("use_ino", "kernel_cache");
  words.push(...["entry_timeout", "negative_timeout", "attr_timeout"].map((name) => `${name}=${VALID_SECONDS}`));
  words.push(`max_background=${BACKGROUND_MAX}`);
  const text = `-o${words.join(",")}`;
  if (Buffer.byteLength(text) > OPTIONS_BYTES_MAX) {
    throw new UsageError(`Cannot mount: the name "${source.slice(0, 40)}…" of the mount is too long for fuse-native`);
  }
  return text;
}

/** libfuse splits at commas and takes a backslash as "the next character is no separator" (fuse_opt.c). */
function escaped(value: string): string {
  return value.replace(/[\\,]/g, "\\$&");
}
