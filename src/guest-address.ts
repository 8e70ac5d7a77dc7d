import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { NotFoundError } from "./errors.js";

/** What an address or DNS name means, one spelling for each address. @throws NotFoundError when DNS fails */
export async function guestAddresses(text: string): Promise<ReadonlySet<string>> {
  const resolved = isIP(text) === 0 ? await resolveName(text) : [text];
  return new Set(resolved.map(normalAddress));
}

/** A name that DNS does not know may still be the guest's host name. */
async function resolveName(name: string): Promise<string[]> {
  try {
    return (await lookup(name, { all: true })).map(({ address }) => address);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOTFOUND" || code === "EAI_AGAIN" || code === "ENODATA") return [];
    throw new NotFoundError(`Cannot resolve the guest name "${name}"`, { cause: error });
  }
}

/** One spelling per address: IPv6 has many. */
export function normalAddress(address: string): string {
  const bare = address.replace(/%.*$/, "");
  return isIP(bare) === 6 ? new URL(`http://[${bare}]/`).hostname : bare;
}
