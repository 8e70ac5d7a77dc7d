import { isIP, isIPv6 } from "node:net";
import { ConfigError, UnreachableError } from "../../errors.js";
import { printable } from "../../printable.js";
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

/** What a pool may call a host: with anything more of a URL in it, the session would be sent to somebody else. */
const HOST_NAME = /^[A-Za-z0-9_]([A-Za-z0-9._-]{0,252})$/;

/**
 * `https://address:port` of a member.
 * @throws UnreachableError for what the server calls an address and is none
 */
export function memberOrigin(address: string, port: number): string {
  const isAddress = (isIP(address) !== 0 && !address.includes("%")) || HOST_NAME.test(address);
  if (!isAddress || !URL.canParse(`https://${isIPv6(address) ? `[${address}]` : address}`)) {
    throw new UnreachableError(`Cannot reach a host of the pool: its address "${printable(address)}" is none`, {
      retryable: false,
      hint: "Check host.address of every host (xe host-list params=address)",
    });
  }
  return `https://${isIPv6(address) ? `[${address}]` : address}:${port}`;
}
