import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { errorChain } from "../../errors.js";
import { closeBacking, openBacking } from "../../libc.js";
import type { Logger } from "../../log.js";
import type { Inode, NodeAttributes, OpenFile } from "../filesystem.js";

/** How local files are registered with the connection: two ioctls of its device. */
export interface BackingFiles {
  /** @returns the backing id @throws SystemCallError */
  open(fd: number): number;
  close(id: number): void;
}

export function deviceBackingFiles(device: number): BackingFiles {
  return {
    open: (fd) => openBacking(device, fd),
    close: (id) => {
      closeBacking(device, id);
    },
  };
}

/**
 * Files that the kernel reads by itself, because their bytes are exactly one local file. Decided at the first open of
 * each inode, for the life of the mount: the kernel fails an open with EIO when the inode is open in the other mode or
 * with another backing id. Every call is synchronous, so no second open can come between question and answer.
 *
 * What stands against passthrough is never an error: the file is then served like any other.
 */
export class Passthrough {
  readonly #backing: BackingFiles;
  readonly #logger: Logger;
  /** The backing id, or "served": this inode is read through us. */
  readonly #decided = new Map<Inode, number | "served">();
  #isAgreed = false;
  #files = 0;

  constructor(backing: BackingFiles, logger: Logger) {
    this.#backing = backing;
    this.#logger = logger;
  }

  /** INIT was answered with PASSTHROUGH: without that no inode gets it. */
  agree(): void {
    this.#isAgreed = true;
  }

  /** Inodes that the kernel reads by itself. */
  get files(): number {
    return this.#files;
  }

  /** The backing id for an open of `node`; undefined when its reads come to us. */
  backingId(node: NodeAttributes, file: OpenFile): number | undefined {
    if (!this.#isAgreed) return undefined;
    let decided = this.#decided.get(node.inode);
    if (decided === undefined) {
      decided = this.#register(node, file);
      this.#decided.set(node.inode, decided);
      if (decided !== "served") this.#files++;
    }
    return decided === "served" ? undefined : decided;
  }

  /** Gives every backing id back. The device must still be open. */
  close(): void {
    for (const id of this.#decided.values()) {
      if (id === "served") continue;
      try {
        this.#backing.close(id);
      } catch (error) {
        // The kernel drops them with the connection in any case.
        this.#logger.debug("Cannot close a backing file", { id, reason: errorChain(error) });
      }
    }
    this.#decided.clear();
  }

  #register({ inode, size }: NodeAttributes, file: OpenFile): number | "served" {
    try {
      const local = file.localFile?.();
      if (local === undefined) return "served";
      const obstacle = local.offset === 0 ? obstacleOf(local.fd, size) : `it starts at ${local.offset} of its file`;
      if (obstacle === undefined) return this.#backing.open(local.fd);
      this.#logger.info("The kernel cannot read a local file by itself", { inode, reason: obstacle });
    } catch (error) {
      this.#logger.warn("The kernel cannot read a local file by itself", { inode, reason: errorChain(error) });
    }
    return "served";
  }
}

function obstacleOf(fd: number, size: number): string | undefined {
  const found = fstatSync(fd);
  if (!found.isFile()) return "it is not a regular file";
  if (found.size !== size) return `it has ${found.size} bytes, the image ${size}`;
  // The kernel opens the file once more with each reader's own flags: where O_DIRECT is not possible, a reader's open
  // would fail. The link is the kernel's own and leads to this very file, also when its name is gone.
  closeSync(openSync(`/proc/self/fd/${fd}`, constants.O_RDONLY | constants.O_DIRECT));
  return undefined;
}
