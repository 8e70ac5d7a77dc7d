import { isIPv6 } from "node:net";
import { ConfigError } from "../../errors.js";

export interface PoolUrl {
  /** `xen://host`, with the port only when it is not 443. */
  readonly url: string;
  /** The host that was named; without brackets. */
  readonly address: string;
  /** Of every member: XAPI names its hosts by bare addresses. */
  readonly port: number;
}

const HINT = "Write it as xen://xen1.example.org; any host of the pool will do";

/** @throws ConfigError for anything but `xen://host[:port]` */
export function parsePoolUrl(text: string): PoolUrl {
  let url: URL;
  try {
    // Only for well-known schemes are host names checked and 443 left out.
    url = new URL(text.replace(/^xen:/i, "https:"));
  } catch (error) {
    throw new ConfigError("Cannot use the server URL: it is not a URL", { cause: error, hint: HINT });
  }
  // The text itself stays out of the message: it might hold a password.
  if (url.username !== "" || url.password !== "") {
    throw new ConfigError("Cannot use the server URL: it holds credentials, which belong into a credential file");
  }
  if (!/^xen:\/\//i.test(text) || url.pathname !== "/" || url.search + url.hash !== "") {
    throw new ConfigError(`Cannot use the server URL "${text}": it must be xen://host or xen://host:port`, {
      hint: HINT,
    });
  }
  return {
    url: `xen://${url.host}`,
    address: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? 443 : Number(url.port),
  };
}

/** `https://address:port` of a member. */
export function memberOrigin(address: string, port: number): string {
  return `https://${isIPv6(address) ? `[${address}]` : address}:${port}`;
}
