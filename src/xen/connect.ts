import { CleanupStack } from "../cleanup.js";
import type { TlsTrust } from "../https/tls.js";
import type { Hypervisor } from "../hypervisor.js";
import type { Logger } from "../log.js";
import { XenPool } from "./hypervisor.js";
import { XapiClient } from "./xapi/client.js";
import { translating } from "./xapi/fault-errors.js";
import { xenLimits, type XenLimits } from "./xapi/limits.js";
import { Members } from "./xapi/members.js";
import { PoolSession } from "./xapi/pool-session.js";
import { parsePoolUrl } from "./xapi/pool-url.js";
import type { Xapi } from "./xapi/xapi.js";

export interface ConnectOptions {
  /** `xen://host[:port]`, any host of the pool. */
  readonly url: string;
  readonly user: string;
  readonly password: string;
  readonly tls: TlsTrust;
  readonly logger: Logger;
  /** Ends the attempt to connect; the connection itself ends by disposing it. */
  readonly signal: AbortSignal;
  /** How long a call may take; absent: as long as usual. */
  readonly timeoutMs?: number | undefined;
  readonly limits?: Partial<XenLimits>;
}

/**
 * Logs in to the pool that a host belongs to.
 * @throws AuthError for wrong credentials, UnreachableError for a pool that does not answer or is not trusted,
 *   ConfigError for a bad URL or fingerprint
 */
export async function connectXapi(options: ConnectOptions): Promise<Xapi> {
  const { logger, signal, tls, user, password } = options;
  const limits = { ...xenLimits(options.timeoutMs), ...options.limits };
  const pool = parsePoolUrl(options.url);
  if (tls.insecure && tls.fingerprint === undefined) {
    logger.warn("The server's certificate is not checked: anybody in between can read the password", { url: pool.url });
  }
  await using cleanup = new CleanupStack();
  const members = cleanup.use("close the connections", new Members(pool, tls, limits, logger));
  const session = cleanup.use("log out", new PoolSession(members, { user, password }, limits, logger));
  return await translating(`Cannot connect to ${pool.url}`, async () => {
    await session.open(signal);
    const client = await XapiClient.create({ members, session, limits, logger }, { signal });
    logger.debug("Logged in", { url: pool.url, master: session.master, product: client.facts.product });
    cleanup.keep();
    return client;
  });
}

/** The same, behind the hypervisor seam. */
export async function connectXen(options: ConnectOptions): Promise<Hypervisor> {
  const { logger } = options;
  const xapi = await connectXapi(options);
  const { product, version, uuid } = xapi.facts;
  const { url } = parsePoolUrl(options.url);
  const identity = { kind: "xen" as const, url, product, version, instanceUuid: uuid };
  const limits = { ...xenLimits(options.timeoutMs), ...options.limits };
  return new XenPool({ identity, xapi, limits, logger });
}
