import { UsageError } from "../../errors.js";
import type { MountOptions } from "../fuse-driver.js";
import { BACKGROUND_MAX } from "../fuse/background-requests.js";
import { optionWords } from "../fuse/option-words.js";
import { VALID_SECONDS } from "../fuse/validity.js";

/** fuse-native copies the text into 1024 bytes and silently drops the rest, which could be "ro". */
const OPTIONS_BYTES_MAX = 1023;

/**
 * The option text for libfuse 2. Unlike the kernel driver's, it cannot name the user who may enter: libfuse takes the
 * one that runs this process.
 * @throws UsageError when it does not fit into fuse-native's buffer
 */
export function libfuseOptions(options: Pick<MountOptions, "source" | "allowOther">): string {
  const timeouts = ["entry_timeout", "negative_timeout", "attr_timeout"].map((name) => `${name}=${VALID_SECONDS}`);
  const own = ["use_ino", "kernel_cache", ...timeouts, `max_background=${BACKGROUND_MAX}`];
  const text = `-o${[...optionWords(options), ...own].join(",")}`;
  if (Buffer.byteLength(text) > OPTIONS_BYTES_MAX) {
    throw new UsageError(
      `Cannot mount: the name "${options.source.slice(0, 40)}…" of the mount is too long for fuse-native`,
    );
  }
  return text;
}
