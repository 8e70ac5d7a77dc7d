import type { Logger } from "../../log.js";
import type { Bytes } from "../../units.js";
import type { Xapi } from "../xapi/xapi.js";
import type { XenDiskLimits } from "./limits.js";

/** A disk image that no longer changes: that of a snapshot, or of a VM that is shut down. */
export interface XenVdi {
  readonly uuid: string;
  readonly ref: string;
  /** VDI.virtual_size. */
  readonly size: Bytes;
  /** For messages: `"Disk 0" (xvda) of "web"`. */
  readonly shown: string;
}

export interface DiskScope {
  readonly xapi: Xapi;
  readonly limits: XenDiskLimits;
  readonly logger: Logger;
}
