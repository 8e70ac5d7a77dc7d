/** `xen://host[:port]` names a host of a XenServer or XCP-ng pool: HTTPS, with another protocol than vSphere's. */
export function isXenUrl(url: string): boolean {
  return /^xen:/i.test(url);
}

/**
 * The HTTPS origin behind such a URL: `https://host[:port]`, the port only when it is not 443.
 * @throws RangeError that says how to write it
 */
export function httpsOfXenUrl(url: string): string {
  const host = /^xen:\/\/([^/?#@\s]+)\/?$/i.exec(url)?.[1];
  if (host === undefined || !URL.canParse(`https://${host}`)) {
    throw new RangeError('Cannot use this URL: write "xen://host" or "xen://host:port", without user or path');
  }
  return new URL(`https://${host}`).origin;
}

/** The one spelling of such a URL. @throws RangeError */
export function xenUrl(url: string): string {
  return httpsOfXenUrl(url).replace(/^https:/, "xen:");
}
