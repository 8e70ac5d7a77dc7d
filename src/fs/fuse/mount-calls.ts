import type { MountOptions } from "../fuse-driver.js";

/** How mounts are made and taken away: by mount(2) itself, or by fusermount3 for those who may not call it. */
export interface MountCalls {
  /** Raising read-ahead, passthrough and ending a connection by force are for processes that may mount themselves. */
  readonly isPrivileged: boolean;

  /**
   * Finds what would make `mount` fail, as far as it can be seen without mounting: before a snapshot is made for it.
   * @throws MissingCapabilityError, RefusedError
   */
  check(target: string, options: Pick<MountOptions, "allowOther">): Promise<void>;

  /**
   * Mounts read-only, nosuid, nodev, noexec, with default_permissions.
   * @param target absolute, without symbolic links
   * @returns the connected /dev/fuse, close-on-exec
   * @throws MissingCapabilityError, RefusedError
   */
  mount(target: string, options: MountOptions): Promise<number>;

  /** @throws BusyError while it is in use */
  unmount(target: string): Promise<void>;

  /** Takes the mount out of the tree even while it is in use; that it is gone already is no error. */
  detach(target: string): Promise<void>;

  /** Ends the connection of a mount: every caller gets an error. Absent where only the kernel's control files do it. */
  readonly force?: (target: string) => Promise<void>;
}
