import { VSPHERE_LIMITS } from "./limits.js";
import { parseServerUrl } from "./server-url.js";
import { peerFingerprints } from "../https/tls.js";

export interface Fingerprints {
  /** Upper-case hex pairs with colons. */
  readonly sha256: string;
  readonly sha1: string;
}

/**
 * Which certificate a server shows, trusted or not; sends nothing.
 * @throws UnreachableError, ConfigError for a URL that is none
 */
export async function fetchFingerprint(url: string): Promise<Fingerprints> {
  return peerFingerprints(parseServerUrl(url), VSPHERE_LIMITS.connectMs);
}
