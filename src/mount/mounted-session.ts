import type { MountEnd } from "../fs/fuse-driver.js";
import type { SessionStatus } from "./control-protocol.js";

/** What a mount daemon serves, from the moment when it can be read until nothing of it is left. */
export interface MountedSession {
  /** Resolves when the kernel has let go of the mount, whoever asked for it. */
  readonly closed: Promise<MountEnd>;
  readonly status: SessionStatus;

  /**
   * Detaches the mount; `closed` and then `finish` follow.
   * @throws BusyError naming who uses it, unless `force`
   */
  detach(options: { readonly force: boolean }): Promise<void>;

  /**
   * Takes away everything that was made for the mount; never skipped, whatever happened before.
   * @returns one sentence for the user
   * @throws LeftoverError; DiskIoError when what was read cannot be trusted
   */
  finish(reason: string): Promise<string>;
}
