import type { MountEnd, MountStatistics } from "../fuse-driver.js";

/** Who answers the kernel's requests on one mount. */
export interface RequestServer {
  readonly statistics: MountStatistics;

  /** How long after the kernel has let go `serve` may still run, because it has to look for that. */
  readonly noticeMs: number;

  /**
   * Answers until the kernel lets go; "aborted" where the connection says so. Rejects when the server itself failed.
   * @param failed called when it cannot go on: the mount must be taken away, or its readers wait for ever
   */
  serve(failed: () => void): Promise<MountEnd>;

  /**
   * Tells reads in service to stop, where `serve` would wait for them. Absent where it ends with the connection: `close`
   * stops them then, and not before the kernel has really let go.
   */
  readonly abortReads?: () => void;

  /** Ends the connection without any right, as far as requests still reach this server. Absent where it cannot. */
  readonly hangUp?: (where: string) => Promise<void>;

  /** `serve` has ended: gives back everything that it held for the kernel. */
  close(): Promise<void>;
}
