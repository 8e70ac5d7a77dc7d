import { parseServerUrl } from "./server-url.js";
import { peerFingerprints, type TlsTrust } from "../https/tls.js";

/** Looking at a certificate is one handshake. */
const CONNECT_MS_MAX = 30_000;

/**
 * The SHA-1 fingerprint of the server's certificate, which VMware's library wants as the only proof that it talks to the right
 * server: of a connection that was checked as every other one.
 * @param url `https://host[:port]`
 * @returns upper-case hex pairs with colons
 * @throws UnreachableError for a server that is not trusted or does not answer
 */
export async function serverThumbprint(url: string, trust: TlsTrust): Promise<string> {
  const { hostname, port } = new URL(parseServerUrl(url).origin);
  const target = { hostname, port: port === "" ? 443 : port };
  return (await peerFingerprints(target, CONNECT_MS_MAX, trust)).sha1;
}
