import { MissingCapabilityError } from "../../errors.js";

/** st_mode and the rest of stat(2), as fuse-native passes it on: 32 bits each, but 64 for size, blocks and times. */
export interface NativeStat {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly nlink: number;
  readonly ino: number;
  readonly blksize: number;
  /** In 512 bytes. */
  readonly blocks: number;
  /** Milliseconds since 1970. */
  readonly atime: number;
  readonly mtime: number;
  readonly ctime: number;
}

/** All of these are 32 bits wide; what is left out counts as 0. */
export interface NativeStatfs {
  readonly bsize: number;
  readonly frsize: number;
  readonly blocks: number;
  readonly files: number;
  readonly namemax: number;
}

/** `result` is 0 (READ: the bytes read) or a negative errno. Paths are absolute within the mount: "/", "/a", "/a/b". */
export interface NativeOperations {
  getattr(path: string, done: (result: number, stat?: NativeStat) => void): void;
  readdir(path: string, done: (result: number, names?: readonly string[], stats?: readonly NativeStat[]) => void): void;
  open(path: string, flags: number, done: (result: number, handle?: number) => void): void;
  read(
    path: string,
    handle: number,
    into: Uint8Array,
    length: number,
    at: number,
    done: (result: number) => void,
  ): void;
  release(path: string, handle: number, done: (result: number) => void): void;
  statfs(path: string, done: (result: number, facts?: NativeStatfs) => void): void;
}

type Done = (error?: Error | null) => void;

/** One mount of the package. */
export interface NativeFuse {
  /** The text for libfuse, "-o" and what follows; the package's own builder knows neither "ro" nor escaping. */
  _fuseOptions: () => string;
  mount(done: Done): void;
  unmount(done: Done): void;
}

export interface NativeFusePackage {
  new (where: string, operations: NativeOperations, options: { readonly timeout: false }): NativeFuse;
  unmount: (where: string, done: Done) => void;
}

/**
 * The npm package fuse-native, loaded when it is first wanted: it is optional, and a binary that needs libfuse 2.
 * @throws MissingCapabilityError that says what to install
 */
export async function loadFuseNative(load: () => Promise<unknown> = importPackage): Promise<NativeFusePackage> {
  let loaded: NativeFusePackage;
  try {
    loaded = (await load()) as NativeFusePackage;
  } catch (cause) {
    throw new MissingCapabilityError(`Cannot use the FUSE driver "fuse-native": ${whatIsMissing(cause)}`, {
      cause,
      hint: hintFor(cause),
    });
  }
  // The package's own way is "fusermount -uz PATH" in a shell: lazy even under open files, and a path is no shell word.
  // The kernel has let go before we ask the package to clean up, so nothing is left to unmount.
  loaded.unmount = (_where, done) => {
    done(null);
  };
  return loaded;
}

async function importPackage(): Promise<unknown> {
  // @ts-expect-error -- the package has no types; what is used of it is declared above, and it may not be installed
  const module = (await import("fuse-native")) as { readonly default: unknown };
  return module.default;
}

function whatIsMissing(cause: unknown): string {
  const { code, message } = cause as { readonly code?: string; readonly message?: string };
  if (code === "ERR_MODULE_NOT_FOUND") return "the npm package is not installed";
  if (code === "ERR_DLOPEN_FAILED") return `its library cannot be loaded (${message ?? ""})`;
  return message?.split("\n", 1)[0] ?? String(cause);
}

function hintFor(cause: unknown): string {
  const otherwise = "or leave --fuse-driver out: the kernel driver needs no library";
  const { code } = cause as { readonly code?: string };
  if (code === "ERR_MODULE_NOT_FOUND") return `Run "npm ci --include=optional" in vmmount's folder, ${otherwise}`;
  if (code === "ERR_DLOPEN_FAILED") return `Install libfuse 2 ("apt-get install libfuse2" on Debian), ${otherwise}`;
  return `The package brings a binary for x86-64 Linux with glibc only, ${otherwise}`;
}
