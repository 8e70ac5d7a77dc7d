import { errorChain, VmmountError } from "../../errors.js";
import type { Logger } from "../../log.js";
import { errnoNumber, errnoOf, type Errno } from "../errno.js";
import type { Bytes } from "../../units.js";
import type { FileSystem } from "../filesystem.js";
import type { MountStatistics } from "../fuse-driver.js";
import { OpenFiles } from "../fuse/open-files.js";
import { NativeReads } from "./native-reads.js";
import { nativeStatfsOf, nativeStatOf } from "./native-stat.js";
import type { NativeOperations } from "./package.js";
import { nodeAt } from "./path-walk.js";

/**
 * Our file system as the operations that fuse-native calls. What is left out, libfuse answers with ENOSYS; what would
 * write never comes, because the mount is read-only. Every call is answered exactly once, or a reader would wait for ever.
 */
export class ServedFileSystem implements NativeOperations {
  readonly #filesystem: FileSystem;
  readonly #logger: Logger;
  readonly #files: OpenFiles;
  readonly #reads: NativeReads;
  readonly #requests: Record<string, number> = {};

  constructor(filesystem: FileSystem, logger: Logger, replyBytesMax: Bytes) {
    this.#filesystem = filesystem;
    this.#logger = logger;
    this.#files = new OpenFiles(logger);
    this.#reads = new NativeReads(this.#files, logger, replyBytesMax);
  }

  get statistics(): MountStatistics {
    return {
      requests: { ...this.#requests },
      readBytes: this.#reads.bytesServed,
      readErrors: this.#reads.errors,
      passthroughFiles: 0,
      openFiles: this.#files.count,
      readsInFlight: this.#reads.inFlight,
    };
  }

  /** Reads in service are told to stop. */
  abortReads(): void {
    this.#reads.abortAll();
  }

  /** The kernel is gone: nobody will release what is open. */
  end(): void {
    this.#reads.abortAll();
    this.#files.releaseAll();
  }

  readonly getattr: NativeOperations["getattr"] = (path, done) => {
    this.#answer("GETATTR", path, done, () => {
      const node = nodeAt(this.#filesystem, path);
      if (node === undefined) this.#fail(done, "ENOENT");
      else done(0, nativeStatOf(node));
    });
  };

  readonly readdir: NativeOperations["readdir"] = (path, done) => {
    this.#answer("READDIR", path, done, () => {
      const node = nodeAt(this.#filesystem, path);
      const entries = node && this.#filesystem.list(node.inode);
      if (node === undefined || entries === undefined) {
        this.#fail(done, node === undefined ? "ENOENT" : "ENOTDIR");
        return;
      }
      const here = nativeStatOf(node);
      done(
        0,
        [".", "..", ...entries.map(({ name }) => name)],
        [here, here, ...entries.map(({ attributes }) => nativeStatOf(attributes))],
      );
    });
  };

  readonly open: NativeOperations["open"] = (path, _flags, done) => {
    this.#answer("OPEN", path, done, () => {
      const node = nodeAt(this.#filesystem, path);
      if (node === undefined) this.#fail(done, "ENOENT");
      else if (node.kind === "directory") this.#fail(done, "EISDIR");
      else done(0, this.#files.addFile(node, this.#filesystem.open(node.inode)));
    });
  };

  readonly read: NativeOperations["read"] = (path, fh, into, length, at, done) => {
    this.#answer("READ", path, done, () => {
      const handle = this.#files.file(fh);
      if (handle === undefined) this.#fail(done, "EBADF");
      else void this.#reads.serve(handle, into.subarray(0, length), at).then(done);
    });
  };

  readonly release: NativeOperations["release"] = (path, fh, done) => {
    this.#answer("RELEASE", path, done, () => {
      this.#files.releaseFile(fh);
      done(0);
    });
  };

  readonly statfs: NativeOperations["statfs"] = (path, done) => {
    this.#answer("STATFS", path, done, () => {
      done(0, nativeStatfsOf(this.#filesystem));
    });
  };

  #answer(operation: string, path: string, done: (result: number) => void, act: () => void): void {
    this.#requests[operation] = (this.#requests[operation] ?? 0) + 1;
    try {
      act();
    } catch (error) {
      this.#fail(done, errnoOf(error));
      const fields = { operation, path, reason: errorChain(error) };
      // A failure that the file system foresaw is one file's; anything else is a bug.
      if (error instanceof VmmountError) this.#logger.warn("A FUSE request failed", fields);
      else this.#logger.error("A FUSE request failed unexpectedly", fields);
    }
  }

  #fail(done: (result: number) => void, errno: Errno): void {
    done(-errnoNumber(errno));
  }
}
