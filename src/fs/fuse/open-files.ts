import { errorChain } from "../../errors.js";
import type { Logger } from "../../log.js";
import type { Inode, NodeAttributes, OpenFile } from "../filesystem.js";
import type { DirectoryListing } from "./directory.js";

/** One open file: `release` waits for reads that the kernel gave up on but that still run. */
export interface FileHandle {
  readonly inode: Inode;
  readonly size: number;
  readonly file: OpenFile;
  readsRunning: number;
  released: boolean;
}

/** What is open, by the handle number that the kernel sends along with each request. Numbers are never used twice. */
export class OpenFiles {
  readonly #files = new Map<number, FileHandle>();
  readonly #directories = new Map<number, DirectoryListing>();
  readonly #logger: Logger;
  #next = 1;
  /** Closed by the kernel, but a read that it gave up on still runs. */
  #releasing = 0;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Opens of files that the kernel has not closed, and those whose last read still runs. */
  get count(): number {
    return this.#files.size + this.#releasing;
  }

  addFile(node: NodeAttributes, file: OpenFile): number {
    const fh = this.#next++;
    this.#files.set(fh, { inode: node.inode, size: node.size, file, readsRunning: 0, released: false });
    return fh;
  }

  addDirectory(listing: DirectoryListing): number {
    const fh = this.#next++;
    this.#directories.set(fh, listing);
    return fh;
  }

  file(fh: number): FileHandle | undefined {
    return this.#files.get(fh);
  }

  directory(fh: number): DirectoryListing | undefined {
    return this.#directories.get(fh);
  }

  releaseDirectory(fh: number): void {
    this.#directories.delete(fh);
  }

  releaseFile(fh: number): void {
    const handle = this.#files.get(fh);
    if (handle === undefined) return;
    this.#files.delete(fh);
    handle.released = true;
    if (handle.readsRunning === 0) this.#release(handle);
    else this.#releasing++;
  }

  readStarted(handle: FileHandle): void {
    handle.readsRunning++;
  }

  readEnded(handle: FileHandle): void {
    handle.readsRunning--;
    if (!handle.released || handle.readsRunning > 0) return;
    this.#releasing--;
    this.#release(handle);
  }

  /** The connection is gone: nobody will send RELEASE. */
  releaseAll(): void {
    for (const fh of [...this.#files.keys()]) this.releaseFile(fh);
    this.#directories.clear();
  }

  /** Nobody waits for the outcome of a close. */
  #release(handle: FileHandle): void {
    try {
      handle.file.release();
    } catch (error) {
      this.#logger.error("Cannot close an image", { inode: handle.inode, reason: errorChain(error) });
    }
  }
}
