import { constants, type Stats } from "node:fs";
import { type FileHandle, open, opendir, readlink, realpath, stat } from "node:fs/promises";
import { isAbsolute, join, relative, resolve } from "node:path";
import { AuthError, DiskIoError, IntegrityError, NotFoundError, RefusedError, type VmmountError } from "../errors.js";
import { FOLDER_ENTRIES_MAX } from "./limits.js";

export interface FolderEntry {
  readonly name: string;
  /** A symbolic link is "other": none is followed. */
  readonly kind: "file" | "folder" | "other";
}

export interface OpenedFile extends AsyncDisposable {
  readonly handle: FileHandle;
  readonly path: string;
  readonly stats: Stats;
}

/**
 * The one door to the files of a folder of VMs. Whoever may write there, a guest's administrator on a shared datastore
 * for one, must not make us read other files of this host: after each open the kernel is asked where the descriptor
 * leads, so that no link, `..` or rename between two calls leads out.
 */
export class LocalRoot {
  /** Without symbolic links. */
  readonly folder: string;
  /** As it was named. */
  readonly #given: string;

  private constructor(folder: string, given: string) {
    this.folder = folder;
    this.#given = given;
  }

  /** @throws NotFoundError, AuthError */
  static async open(given: string): Promise<LocalRoot> {
    try {
      const folder = await realpath(given);
      if (!(await stat(folder)).isDirectory()) {
        throw new NotFoundError(`Cannot use "${given}" as a folder of VMs: it is a file`);
      }
      return new LocalRoot(folder, resolve(given));
    } catch (error) {
      throw translated(`Cannot use "${given}" as a folder of VMs`, error);
    }
  }

  /** The absolute path, where it lies inside by its text; undefined elsewhere. */
  inside(path: string): string | undefined {
    for (const folder of [this.folder, this.#given]) {
      const below = relative(folder, resolve(folder, path));
      if (below !== ".." && !below.startsWith("../") && !isAbsolute(below)) return join(this.folder, below);
    }
    return undefined;
  }

  /**
   * Opens a regular file for reading.
   * @param path absolute
   * @throws NotFoundError, AuthError; RefusedError for links, devices and whatever lies outside
   */
  async openFile(path: string): Promise<OpenedFile> {
    const action = `Cannot read "${path}"`;
    // O_NONBLOCK: opening a pipe must not wait for a writer.
    const handle = await this.#open(path, constants.O_RDONLY | constants.O_NONBLOCK, action);
    try {
      const stats = await handle.stat();
      if (!stats.isFile()) throw new RefusedError(`${action}: it is no regular file`);
      return { handle, path, stats, [Symbol.asyncDispose]: () => handle.close() };
    } catch (error) {
      await handle.close();
      throw translated(action, error);
    }
  }

  /**
   * A small file whole.
   * @param path absolute
   * @throws IntegrityError when it is larger than `bytesMax`
   */
  async readSmall(path: string, bytesMax: number): Promise<Uint8Array> {
    await using file = await this.openFile(path);
    if (file.stats.size > bytesMax) {
      throw new IntegrityError(`Cannot read "${path}": it has ${file.stats.size} bytes and the limit is ${bytesMax}`);
    }
    return await readHead(file, file.stats.size);
  }

  /**
   * What is in a folder, in no order.
   * @param path absolute
   * @throws NotFoundError, AuthError, RefusedError
   */
  async entries(path: string): Promise<FolderEntry[]> {
    const action = `Cannot list "${path}"`;
    const handle = await this.#open(path, constants.O_RDONLY | constants.O_DIRECTORY, action);
    try {
      const found: FolderEntry[] = [];
      for await (const entry of await opendir(`/proc/self/fd/${handle.fd}`, { bufferSize: 256 })) {
        if (found.length >= FOLDER_ENTRIES_MAX) {
          throw new RefusedError(`${action}: it holds more than ${FOLDER_ENTRIES_MAX} entries`, {
            hint: "Name a folder further down as the server",
          });
        }
        found.push({ name: entry.name, kind: entry.isFile() ? "file" : entry.isDirectory() ? "folder" : "other" });
      }
      return found;
    } catch (error) {
      throw translated(action, error);
    } finally {
      await handle.close();
    }
  }

  async #open(path: string, flags: number, action: string): Promise<FileHandle> {
    let handle: FileHandle | undefined;
    try {
      handle = await open(path, flags | constants.O_NOFOLLOW);
      const real = await readlink(`/proc/self/fd/${handle.fd}`);
      if (real !== this.folder && !real.startsWith(this.folder === "/" ? "/" : `${this.folder}/`)) {
        throw new RefusedError(`${action}: it leads out of the folder "${this.folder}"`);
      }
      return handle;
    } catch (error) {
      await handle?.close();
      throw translated(action, error);
    }
  }
}

/** The first bytes of a file: as many as asked for. @throws DiskIoError when it has become shorter */
export async function readHead(file: OpenedFile, length: number): Promise<Uint8Array> {
  const into = new Uint8Array(length);
  for (let done = 0; done < length;) {
    const { bytesRead } = await file.handle.read(into, done, length - done, done).catch((error: unknown) => {
      throw translated(`Cannot read "${file.path}"`, error);
    });
    if (bytesRead === 0) throw new DiskIoError(`Cannot read "${file.path}": it became shorter while it was read`);
    done += bytesRead;
  }
  return into;
}

/** An error of the file system in our words; one of ours stays as it is. */
export function translated(action: string, error: unknown): unknown {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === undefined) return error;
  return fileError(action, code, message, error);
}

function fileError(action: string, code: string, message: string, cause: unknown): VmmountError {
  switch (code) {
    case "ENOENT":
    case "ENOTDIR":
      return new NotFoundError(`${action}: there is no such file or folder`, { cause });
    case "EACCES":
    case "EPERM":
      return new AuthError(`${action}: this user may not read it`, {
        cause,
        hint: "Run as a user who may; an NFS server may map root to nobody (root_squash)",
      });
    case "ELOOP":
      return new RefusedError(`${action}: it is a symbolic link, and those are not followed`, { cause });
    case "ENAMETOOLONG":
      return new NotFoundError(`${action}: the name is too long`, { cause });
    default:
      return new DiskIoError(`${action}: ${message}`, { cause });
  }
}
