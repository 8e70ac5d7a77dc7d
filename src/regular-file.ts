import { constants } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { buffer } from "node:stream/consumers";
import { IntegrityError } from "./errors.js";

/**
 * Opens for reading, or with other flags of open(2). Never waits for the writer of a FIFO, as open(2) does without
 * O_NONBLOCK: a thread that waits there cannot be called back, and holds up the end of the process too.
 */
export async function openWithoutWaiting(path: string, flags = constants.O_RDONLY): Promise<FileHandle> {
  return await open(path, flags | constants.O_NONBLOCK);
}

/**
 * The whole of a file that is small.
 * @throws IntegrityError when it is a FIFO, a device or a directory, or larger than `bytesMax`; the error of open(2)
 */
export async function readRegularFile(path: string, bytesMax: number): Promise<Buffer> {
  await using file = await openWithoutWaiting(path);
  const stats = await file.stat();
  if (!stats.isFile()) throw new IntegrityError(`Cannot read "${path}": it is not a file`);
  const tooLarge = (): IntegrityError =>
    new IntegrityError(`Cannot read "${path}": it has more than ${bytesMax} bytes`);
  if (stats.size > bytesMax) throw tooLarge();
  // Its size says nothing of what grows meanwhile, nor of files of procfs.
  const content = await buffer(file.createReadStream({ end: bytesMax, autoClose: false }));
  if (content.length > bytesMax) throw tooLarge();
  return content;
}
