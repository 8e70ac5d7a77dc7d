import { constants, type FileHandle, open } from "node:fs/promises";
import { basename } from "node:path";
import type { BlockSource } from "../block-source.js";
import { NotFoundError, RefusedError } from "../errors.js";
import { FileSource } from "../local/file-source.js";
import { bytes } from "../units.js";

/**
 * One whole file of a backup as the bytes of a disk or an archive, with its holes.
 * @throws NotFoundError, RefusedError for what is no file
 */
export async function openImage(path: string): Promise<BlockSource> {
  let handle: FileHandle;
  try {
    // Opening a FIFO would wait for its writer.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT") throw new NotFoundError(`Cannot restore "${path}": no such file`, { cause });
    throw new RefusedError(`Cannot restore "${path}": ${message}`, { cause });
  }
  try {
    const stats = await handle.stat();
    if (!stats.isFile()) throw new RefusedError(`Cannot restore "${basename(path)}": it is not a file`);
    const length = bytes(stats.size);
    const data = { handle, path, offset: bytes(0) };
    const segments = [{ start: bytes(0), length, data }];
    return new FileSource(
      { segments, files: [{ handle, path, stats, [Symbol.asyncDispose]: () => handle.close() }] },
      "asked of the file system",
    );
  } catch (error) {
    await handle.close();
    throw error;
  }
}
