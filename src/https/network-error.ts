import { IntegrityError, UnreachableError, VmmountError } from "../errors.js";

/**
 * What a failure of a connection means for the user; errors that are ours already stay.
 * @param origin `https://host:port`
 */
export function translateNetworkError(error: unknown, origin: string): unknown {
  // A TypeError is a bug of ours.
  if (error instanceof VmmountError || error instanceof TypeError) return error;
  const code = errorCode(error);
  if (code === undefined && !(error instanceof Error)) return error;
  if (code === "ERR_INVALID_ARG_TYPE" || code === "UND_ERR_INVALID_ARG") return error;
  if (code?.startsWith("HPE_") === true || code === "UND_ERR_RES_CONTENT_LENGTH_MISMATCH") {
    return new IntegrityError(`Cannot read the answer of ${origin}: it is not valid HTTP`, { cause: error });
  }
  return new UnreachableError(`Cannot reach ${origin}: ${REASONS[code ?? ""] ?? reasonOf(error)}`, {
    cause: error,
    // A name that does not exist stays so; everything else may pass.
    retryable: code !== "ENOTFOUND",
  });
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  EPIPE: "connection reset",
  ENOTFOUND: "no such host name",
  EAI_AGAIN: "the host name cannot be looked up now",
  EHOSTUNREACH: "no route to the host",
  ENETUNREACH: "no route to the network",
  ETIMEDOUT: "connection timed out",
  UND_ERR_SOCKET: "the server closed the connection",
  ERR_STREAM_PREMATURE_CLOSE: "the server closed the connection",
  ERR_STREAM_DESTROYED: "the connection was closed",
  UND_ERR_HEADERS_TIMEOUT: "no answer in time",
  UND_ERR_BODY_TIMEOUT: "the answer stopped half-way",
  UND_ERR_DESTROYED: "the connection was closed on our side",
};

/** The code of a network failure; with several addresses tried, of the first one. */
export function errorCode(error: unknown): string | undefined {
  const code: unknown = (error as { code?: unknown } | undefined)?.code;
  if (typeof code === "string" && code !== "") return code;
  if (error instanceof AggregateError) return errorCode(error.errors[0]);
  return undefined;
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // OpenSSL's own message is a line of addresses and source files; its reason says "wrong version number".
  const { reason } = error as { readonly reason?: unknown };
  if (errorCode(error)?.startsWith("ERR_SSL_") === true && typeof reason === "string") {
    return `the TLS handshake failed (${reason})`;
  }
  return error.message;
}
