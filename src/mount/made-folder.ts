import { rmdir } from "node:fs/promises";

/** What rmdir(2) says of a folder that is gone, in use again, or not empty: then it is not ours to remove. */
const LEAVE = ["ENOENT", "ENOTEMPTY", "EEXIST", "EBUSY", "ENOTDIR"];

/** Removes a folder that was made for a mount, if it is there and empty. */
export async function removeEmptyFolder(path: string): Promise<void> {
  await rmdir(path).catch((error: unknown) => {
    if (!LEAVE.includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  });
}
