import { isIPv6 } from "node:net";
import { ConfigError } from "../../errors.js";
import { httpsOfXenUrl, xenUrl } from "../../xen-url.js";

export interface PoolUrl {
  /** `xen://host`, with the port only when it is not 443. */
  readonly url: string;
  /** The host that was named; without brackets. */
  readonly address: string;
  /** Of every member: XAPI names its hosts by bare addresses. */
  readonly port: number;
}

/** @throws ConfigError for anything but `xen://host[:port]` */
export function parsePoolUrl(text: string): PoolUrl {
  let url: URL;
  try {
    url = new URL(httpsOfXenUrl(text));
  } catch (error) {
    // The text itself stays out of the message: it might hold a password.
    throw new ConfigError("Cannot use the server URL: it must be xen://host or xen://host:port", {
      cause: error,
      hint: "Write it as xen://xen1.example.org; any host of the pool will do",
    });
  }
  return {
    url: xenUrl(text),
    address: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: url.port === "" ? 443 : Number(url.port),
  };
}

/** `https://address:port` of a member. */
export function memberOrigin(address: string, port: number): string {
  return `https://${isIPv6(address) ? `[${address}]` : address}:${port}`;
}
