import type { PoolHost } from "../pool-host.js";
import type { XenPool } from "../xen-pool.js";

/** A running NBD server of one host. */
export interface NbdServer {
  readonly port: number;
  /** Ends the server and its connections. */
  close(): Promise<void>;
}

/** Starts the NBD server of a host on a free port of its address; undefined for releases that have none. */
export function serveNbd(pool: XenPool, host: PoolHost): Promise<NbdServer | undefined> {
  pool.logger.debug("No NBD server", { host: host.address });
  return Promise.resolve(undefined);
}
