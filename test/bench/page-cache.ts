import { writeFile } from "node:fs/promises";
import { mustRun } from "./programs.js";

export type CacheDrop = "drop_caches" | "posix_fadvise";

/** How this machine empties its page cache; the same way for every contender. */
export async function chooseCacheDrop(): Promise<CacheDrop> {
  return writeFile("/proc/sys/vm/drop_caches", "3").then(
    () => "drop_caches",
    // A container may not; then the files themselves are dropped.
    () => "posix_fadvise",
  );
}

/** Empties the page cache, or at least that of `files`. */
export async function dropPageCache(how: CacheDrop, files: readonly string[], signal: AbortSignal): Promise<void> {
  await mustRun("sync", [], { signal });
  if (how === "drop_caches") {
    await writeFile("/proc/sys/vm/drop_caches", "3");
    return;
  }
  for (const file of files) {
    // With no count dd only gives the advice POSIX_FADV_DONTNEED for the whole file.
    await mustRun("dd", [`if=${file}`, "iflag=nocache", "count=0", "status=none"], { signal });
  }
}
