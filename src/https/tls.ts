import { X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { connect as tlsConnect, type TLSSocket } from "node:tls";
import { ConfigError, UnreachableError } from "../errors.js";
import { translateNetworkError } from "./network-error.js";

/** What makes a server's certificate trusted: a pinned fingerprint wins over the CA check. */
export interface TlsTrust {
  /** PEM; replaces the built-in roots. A server whose own certificate is in it may have another name than the certificate. */
  readonly ca?: string | undefined;
  /** SHA-256 or SHA-1 of the leaf certificate, hex, with or without colons. */
  readonly fingerprint?: string | undefined;
  readonly insecure: boolean;
}

export interface ConnectTarget {
  readonly hostname: string;
  readonly port: string | number;
}

/**
 * Where what the peer sends goes, in place of a stream: always the same buffer, which the callback must have emptied when it
 * returns (net.createConnection's `onread`, which TLS sockets take as well).
 */
export interface OnRead {
  readonly buffer: Uint8Array;
  readonly callback: (length: number, buffer: Uint8Array) => boolean;
}

/** @returns gives the attempt up; the callback hears of an error then */
export type TrustingConnector = (target: ConnectTarget, callback: ConnectCallback, onread?: OnRead) => () => void;

export type ConnectCallback = (...result: [null, TLSSocket] | [Error, null]) => void;

/**
 * Makes TLS connections whose peer is checked before the caller gets the socket: not one byte of a request, and so no
 * password, reaches a server that is not trusted. No TLS session is resumed, since a resumed one shows no certificate.
 * @throws ConfigError for a fingerprint that is none
 */
export function trustingConnector(trust: TlsTrust, connectMs: number): TrustingConnector {
  const pin = trust.fingerprint === undefined ? undefined : normalFingerprint(trust.fingerprint);
  return (target, callback, onread) => {
    const opened: ConnectCallback = (...[error, socket]) => {
      if (error !== null) {
        callback(error, null);
        return;
      }
      const problem = distrust(target, { socket, seen: fingerprints(socket) }, { ...trust, fingerprint: pin });
      if (problem === undefined) {
        callback(null, socket);
        return;
      }
      socket.destroy();
      callback(problem, null);
    };
    const socket = openTls(target, { ca: trust.ca, connectMs, onread }, opened);
    return () => {
      socket.destroy();
    };
  };
}

/**
 * Opens a connection only to learn which certificate the server shows; nothing is sent.
 * @param trust must be satisfied; without it nothing is trusted
 * @returns SHA-256 and SHA-1 of the leaf certificate as upper-case hex pairs with colons
 * @throws UnreachableError
 */
export async function peerFingerprints(
  target: ConnectTarget,
  connectMs: number,
  trust?: TlsTrust,
): Promise<{ readonly sha256: string; readonly sha1: string }> {
  const socket = await new Promise<TLSSocket>((resolve, reject) => {
    openTls(target, { ca: trust?.ca, connectMs }, (...[error, opened]) => {
      if (error === null) resolve(opened);
      else reject(error);
    });
  });
  try {
    const seen = fingerprints(socket);
    if (seen === undefined) throw noCertificate(`${target.hostname}:${target.port}`);
    const pin = trust?.fingerprint === undefined ? undefined : normalFingerprint(trust.fingerprint);
    const problem = trust && distrust(target, { socket, seen }, { ...trust, fingerprint: pin });
    if (problem !== undefined) throw problem;
    return seen;
  } finally {
    socket.destroy();
  }
}

/** The certificate that a server shows, and what is thought of it here. */
export interface PeerCertificate {
  /** SHA-256 of the leaf certificate as upper-case hex pairs with colons. */
  readonly sha256: string;
  readonly validTo: Date;
  /** By what it is trusted, or why it is not. */
  readonly trust: "fingerprint" | "ca" | "system" | "insecure" | UnreachableError;
}

/**
 * Opens a connection only to look at the certificate; nothing is sent.
 * @throws UnreachableError when nobody answers or no certificate is shown, ConfigError for a fingerprint that is none
 */
export async function inspectPeer(target: ConnectTarget, connectMs: number, trust: TlsTrust): Promise<PeerCertificate> {
  const fingerprint = trust.fingerprint === undefined ? undefined : normalFingerprint(trust.fingerprint);
  const socket = await new Promise<TLSSocket>((resolve, reject) => {
    openTls(target, { ca: trust.ca, connectMs }, (...[error, opened]) => {
      if (error === null) resolve(opened);
      else reject(error);
    });
  }).catch((error: unknown) => {
    throw translateNetworkError(error, `https://${target.hostname}:${target.port}`);
  });
  try {
    const certificate = socket.getPeerX509Certificate();
    if (certificate === undefined) throw noCertificate(`${target.hostname}:${target.port}`);
    const seen = { sha256: certificate.fingerprint256, sha1: certificate.fingerprint };
    const problem = distrust(target, { socket, seen }, { ...trust, fingerprint });
    const signer = trust.ca === undefined ? "system" : "ca";
    const trustedBy = fingerprint !== undefined ? "fingerprint" : trust.insecure ? "insecure" : signer;
    return { sha256: seen.sha256, validTo: new Date(certificate.validTo), trust: problem ?? trustedBy };
  } finally {
    socket.destroy();
  }
}

interface TlsOptions {
  readonly ca?: string | undefined;
  readonly connectMs: number;
  readonly onread?: OnRead | undefined;
}

function openTls(target: ConnectTarget, { ca, connectMs, onread }: TlsOptions, callback: ConnectCallback): TLSSocket {
  const host = target.hostname.replace(/^\[(.*)\]$/, "$1");
  const socket = tlsConnect({
    host,
    port: Number(target.port),
    // An address must not go into the server name extension (RFC 6066 section 3).
    ...(isIP(host) === 0 ? { servername: host } : {}),
    ...(ca === undefined ? {} : { ca }),
    ...(onread === undefined ? {} : { onread }),
    // The result of the check is read from `authorized`, so that a refusal can say which certificate was seen.
    rejectUnauthorized: false,
    ALPNProtocols: ["http/1.1"],
  });
  const timer = setTimeout(() => {
    socket.destroy(timeoutError(target, connectMs));
  }, connectMs);
  let settle: ConnectCallback | undefined = (...result) => {
    settle = undefined;
    clearTimeout(timer);
    callback(...result);
  };
  socket.setNoDelay(true).setKeepAlive(true, 30_000);
  socket.once("secureConnect", () => settle?.(null, socket));
  // Stays for the life of the socket: its later errors belong to the HTTP client, which listens as well.
  socket.on("error", (error: Error) => settle?.(error, null));
  socket.once("close", () => settle?.(new Error("the server closed the connection during the TLS handshake"), null));
  return socket;
}

function timeoutError(target: ConnectTarget, connectMs: number): UnreachableError {
  return new UnreachableError(
    `Cannot connect to ${target.hostname}:${target.port}: no answer within ${connectMs / 1000} s`,
  );
}

/** The fingerprints come with the socket, since Node shows a certificate once. */
function distrust(
  target: ConnectTarget,
  { socket, seen }: { readonly socket: TLSSocket; readonly seen: ReturnType<typeof fingerprints> },
  trust: TlsTrust,
): UnreachableError | undefined {
  const where = `${target.hostname}:${target.port}`;
  if (seen === undefined) return noCertificate(where);
  if (trust.fingerprint !== undefined) {
    const pinned = trust.fingerprint;
    if (pinned === seen.sha256 || pinned === seen.sha1) return undefined;
    return new UnreachableError(
      `Cannot trust ${where}: its certificate has the SHA-256 fingerprint ${seen.sha256} (SHA-1 ${seen.sha1}), ` +
        `but ${pinned} is pinned`,
      {
        retryable: false,
        hint: `If the certificate was renewed, check the new one at the server and pin it with --fingerprint ${seen.sha256}`,
      },
    );
  }
  if (trust.insecure || socket.authorized) return undefined;
  // Hosts are known by addresses that their own certificates do not name. Whoever gave this very one has vouched for it.
  const isListed = trust.ca !== undefined && listedCertificates(trust.ca).has(seen.sha256);
  if (isListed && problemCode(socket) === "ERR_TLS_CERT_ALTNAME_INVALID") return undefined;
  return new UnreachableError(
    `Cannot trust ${where}: ${certificateProblem(socket)}; its SHA-256 fingerprint is ${seen.sha256}`,
    {
      retryable: false,
      hint:
        `Compare the fingerprint with the server's own and pin it with --fingerprint ${seen.sha256} ` +
        `(config: fingerprint = "${seen.sha256}"), or give the CA that signed it`,
    },
  );
}

const PROBLEMS: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is self-signed",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate chain ends in a CA that is not trusted here",
  UNABLE_TO_GET_ISSUER_CERT: "the CA that signed its certificate is not trusted here",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "the CA that signed its certificate is not trusted here",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "the CA that signed its certificate is not trusted here",
  CERT_HAS_EXPIRED: "its certificate has expired",
  CERT_NOT_YET_VALID: "its certificate is not valid yet: check the clocks",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another host name",
};

function certificateProblem(socket: TLSSocket): string {
  const code = problemCode(socket);
  return PROBLEMS[code] ?? `its certificate cannot be verified (${code})`;
}

function problemCode(socket: TLSSocket): string {
  // Typed as Error, but Node keeps the code as text there when certificates are not rejected by itself.
  const problem: unknown = socket.authorizationError;
  return typeof problem === "string" ? problem : ((problem as NodeJS.ErrnoException | null)?.code ?? "unknown");
}

/** SHA-256 fingerprints of what a PEM file holds. */
function listedCertificates(pem: string): ReadonlySet<string> {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return new Set(blocks.map((block) => new X509Certificate(block).fingerprint256));
}

/** To be called once for each connection: Node 20 gives the certificate away with the first call. */
function fingerprints(socket: TLSSocket): { readonly sha256: string; readonly sha1: string } | undefined {
  const certificate = socket.getPeerX509Certificate();
  return certificate && { sha256: certificate.fingerprint256, sha1: certificate.fingerprint };
}

function noCertificate(where: string): UnreachableError {
  return new UnreachableError(`Cannot trust ${where}: it shows no certificate`, { retryable: false });
}

/**
 * Upper-case hex pairs with colons.
 * @throws ConfigError when the text is neither a SHA-1 nor a SHA-256 fingerprint
 */
export function normalFingerprint(text: string): string {
  const hex = text.replace(/^sha-?(1|256)(\s+fingerprint)?\s*[:=]/i, "").replace(/[:\s]/g, "");
  if (!/^([0-9a-f]{40}|[0-9a-f]{64})$/i.test(hex)) {
    throw new ConfigError(`Cannot use "${text}" as a certificate fingerprint: it is neither SHA-256 nor SHA-1`, {
      hint: "A SHA-256 fingerprint has 32 hex pairs: openssl x509 -fingerprint -sha256 -noout -in cert.pem",
    });
  }
  return (hex.toUpperCase().match(/../g) ?? []).join(":");
}
