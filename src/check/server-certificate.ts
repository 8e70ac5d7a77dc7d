import { inspectPeer, type PeerCertificate } from "../https/tls.js";
import type { Connection } from "../mount/connection.js";
import { httpsOfXenUrl, isXenUrl } from "../xen-url.js";
import { failed, type Finding, ok, warn } from "./finding.js";
import { errorFacts } from "../errors.js";

/** TCP and TLS together. */
const CONNECT_MS = 10_000;
/** Time to order a new one, and to pin it everywhere. */
const DAYS_MIN = 30;
const DAY_MS = 86_400_000;

const TRUSTED = {
  fingerprint: "its fingerprint is pinned",
  ca: "ca_file vouches for it",
  system: "a CA of this system signed it",
  insecure: "it is not checked at all",
} as const;

/** Whether anybody answers, and with which certificate. Sends nothing. @throws UnreachableError, ConfigError */
export async function checkCertificate(connection: Connection): Promise<readonly Finding[]> {
  const { protocol, hostname, port } = new URL(
    isXenUrl(connection.url) ? httpsOfXenUrl(connection.url) : connection.url,
  );
  const target = { hostname, port: port === "" ? 443 : port };
  const answers = ok("server.reach", `${protocol}//${hostname}:${target.port} answers`);
  const { ca, fingerprint, insecure } = connection;
  try {
    return [
      answers,
      judgeCertificate(await inspectPeer(target, CONNECT_MS, { ca, fingerprint, insecure }), Date.now()),
    ];
  } catch (error) {
    return [failed("server.reach", errorFacts(error))];
  }
}

/** @param now milliseconds since the epoch */
export function judgeCertificate({ sha256, validTo, trust }: PeerCertificate, now: number): Finding {
  const id = "server.certificate";
  if (trust instanceof Error) return failed(id, errorFacts(trust));
  const days = Math.floor((validTo.getTime() - now) / DAY_MS);
  const age = Number.isNaN(days)
    ? "and has no end that can be read"
    : days < 0
      ? `but it ended ${-days} days ago`
      : `and ends in ${days} days`;
  const text = `The certificate is trusted: ${TRUSTED[trust]}, ${age}`;
  if (trust === "insecure") {
    return warn(id, text, `Whoever is in between can read the password: pin it with --fingerprint ${sha256}`);
  }
  return days >= DAYS_MIN ? ok(id, text) : warn(id, text, "Renew it, and pin the new one where the old one is pinned");
}
