import { constants } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { IntegrityError } from "./errors.js";

/** What a mistake or somebody hostile may have put where a file belongs, in the words of a message. */
const NO_FILE = "it is not a file";

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
  if (!stats.isFile()) throw new IntegrityError(`Cannot read "${path}": ${NO_FILE}`);
  const tooLarge = (): IntegrityError =>
    new IntegrityError(`Cannot read "${path}": it has more than ${bytesMax} bytes`);
  if (stats.size > bytesMax) throw tooLarge();
  const content = await file.readFile();
  // It may have grown meanwhile.
  if (content.length > bytesMax) throw tooLarge();
  return content;
}
