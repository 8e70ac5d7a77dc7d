import { readFile, stat } from "node:fs/promises";
import type { CleanupStack } from "../../../src/cleanup.js";
import { runProgram } from "../programs.js";

/** Whether a file of this size is there. */
export async function hasSize(path: string, bytes: number): Promise<boolean> {
  return stat(path).then(
    ({ size }) => size === bytes,
    () => false,
  );
}

/** Unmounts with the owner, and is content when nothing is mounted there any more. */
export function unmountLater(owner: CleanupStack, path: string): void {
  owner.add(`unmount ${path}`, async () => {
    const lines = (await readFile("/proc/self/mountinfo", "utf8")).split("\n");
    if (!lines.some((line) => line.split(" ")[4] === path)) return;
    // Lazily: whoever still reads must not keep the rest of the clean-up from running.
    const { code, stderr } = await runProgram("umount", ["-l", path], { signal: new AbortController().signal });
    if (code !== 0) throw new Error(stderr.trim());
  });
}
