import { CleanupStack } from "../cleanup.js";
import type { Hypervisor } from "../hypervisor.js";
import type { Logger } from "../log.js";
import { CookieJar } from "./cookies.js";
import { translating } from "./fault-errors.js";
import { HttpClient } from "../https/http-client.js";
import { Vsphere } from "./hypervisor.js";
import { vsphereLimits, type VsphereLimits } from "./limits.js";
import { parseServerUrl } from "./server-url.js";
import { commonVersion, loadServiceContent } from "./service-content.js";
import { Session } from "./session.js";
import { SoapClient } from "./soap-client.js";
import type { TlsTrust } from "../https/tls.js";

export interface ConnectOptions {
  /** `https://host[:port]` */
  readonly url: string;
  readonly user: string;
  readonly password: string;
  readonly tls: TlsTrust;
  readonly logger: Logger;
  /** Ends the attempt to connect; the connection itself ends by disposing it. */
  readonly signal: AbortSignal;
  /** How long a call may take; absent: as long as usual. */
  readonly timeoutMs?: number | undefined;
  readonly limits?: Partial<VsphereLimits>;
}

/**
 * Logs in to a vCenter or ESXi host.
 * @throws AuthError for wrong credentials, UnreachableError for a server that does not answer or is not trusted,
 *   ConfigError for a bad URL or fingerprint
 */
export async function connectVsphere(options: ConnectOptions): Promise<Hypervisor> {
  const { logger, signal } = options;
  const limits = { ...vsphereLimits(options.timeoutMs), ...options.limits };
  const server = parseServerUrl(options.url);
  await using cleanup = new CleanupStack();
  if (options.tls.insecure && options.tls.fingerprint === undefined) {
    logger.warn("The server's certificate is not checked: anybody in between can read the password", {
      url: server.origin,
    });
  }
  const http = cleanup.use("close the connections", new HttpClient(server, options.tls, limits));
  const cookies = new CookieJar();
  const client = new SoapClient(http, cookies, logger, limits);
  return await translating(`Cannot connect to ${server.origin}`, async () => {
    const version = commonVersion(await client.serviceVersions(signal));
    if (version !== undefined) client.useVersion(version);
    const content = await loadServiceContent(client, signal);
    const session = new Session(
      { client, cookies, content, limits, logger },
      { user: options.user, password: options.password },
    );
    cleanup.use("log out", session);
    await session.open(signal);
    const { about } = content;
    const identity = {
      kind: "vsphere" as const,
      url: server.origin,
      product: about.fullName,
      version: about.version,
      instanceUuid: about.instanceUuid,
    };
    logger.debug("Logged in", { url: server.origin, product: about.fullName, api: version });
    const hypervisor = new Vsphere({ identity, http, session, limits, logger });
    cleanup.keep();
    return hypervisor;
  });
}
