import type { Bytes } from "../units.js";
import type { FileSystem } from "./filesystem.js";

export interface MountOptions {
  /** Shown as the mount's source in /proc/self/mountinfo: one line, no secrets. */
  readonly source: string;
  /** Other users than the mounting one may enter (they still need the mode bits). */
  readonly allowOther: boolean;
  readonly uid: number;
  readonly gid: number;
  /** Memory for the answers to reads that are under way together. */
  readonly replyBytesMax: Bytes;
}

/** Why the kernel stopped asking: it was unmounted (by us or by hand), or the connection was aborted. */
export type MountEnd = "unmounted" | "aborted";

export interface MountStatistics {
  /** Requests by operation name, such as `READ`. */
  readonly requests: Readonly<Record<string, number>>;
  readonly readBytes: number;
  readonly readErrors: number;
  /** Files that the kernel reads from a local file by itself: their reads are in none of these numbers. */
  readonly passthroughFiles: number;
  /** Opens that are not closed yet. */
  readonly openFiles: number;
  /** READ requests that are not answered yet. */
  readonly readsInFlight: number;
}

/** A live mount. Disposing = `abandon()`. */
export interface Mounted extends AsyncDisposable {
  /** Resolves when the kernel has let go; rejects when the driver itself failed. */
  readonly closed: Promise<MountEnd>;
  readonly statistics: MountStatistics;
  /** What was negotiated, for `status`: driver name, request size … */
  readonly description: string;

  /**
   * Detaches the mount and waits until the kernel has let go.
   * @throws BusyError while files are open or a process stands in the tree
   */
  unmount(): Promise<void>;

  /**
   * Detaches even while files are open: their further reads fail with an error, never with wrong bytes. Files that the
   * kernel reads from a local file by itself go on giving that file's bytes until they are closed.
   */
  abandon(): Promise<void>;
}

export interface FuseDriver {
  /**
   * Shows `filesystem` at `where` (an existing directory); resolves when the kernel can read it.
   * @throws MissingCapabilityError without /dev/fuse or the right to mount
   */
  mount(filesystem: FileSystem, where: string, options: MountOptions): Promise<Mounted>;
}
