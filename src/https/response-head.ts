import type { IncomingHttpHeaders } from "node:http";

/** Headers of an honest answer have some hundred bytes; Node's own client stops at 16 KiB too. */
export const HEAD_BYTES_MAX = 16 * 1024;

export interface ResponseHead {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Bytes of the body, or how else its end is known. */
  readonly framing: number | "chunked" | "connection";
  /** Whether the connection may carry another request afterwards. */
  readonly staysOpen: boolean;
}

/** What came is no HTTP; the code is the one of Node's own parser. */
export class InvalidAnswer extends Error {
  readonly code = "HPE_INVALID";

  constructor(why: string) {
    super(why);
    this.name = "InvalidAnswer";
  }
}

const STATUS_LINE = /^HTTP\/1\.([01]) (\d{3})(?: [^\0\r\n]*)?$/;
/** RFC 9110 section 5.6.2: a token. No space before the colon, no continued lines (RFC 9112 section 5). */
const HEADER_LINE = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\0\r\n]*)$/;

/**
 * Reads the head of an HTTP/1 answer to a GET.
 * @param text from the status line to the line before the empty one, bytes as Latin-1
 * @throws InvalidAnswer when it is not valid, or could be understood in two ways
 */
export function parseResponseHead(text: string): ResponseHead {
  const [statusLine = "", ...lines] = text.split("\r\n");
  const status = STATUS_LINE.exec(statusLine);
  if (status === null) throw invalid("its status line is none");
  const headers: Record<string, string | string[]> = {};
  for (const line of lines) {
    const [, name, value] = HEADER_LINE.exec(line) ?? [];
    if (name === undefined || value === undefined) throw invalid("a header line is none");
    addHeader(headers, name.toLowerCase(), withoutBlanks(value));
  }
  const code = Number(status[2]);
  const framing = framingOf(code, headers);
  const words = String(headers["connection"] ?? "").toLowerCase();
  return {
    status: code,
    headers,
    framing,
    staysOpen:
      framing !== "connection" && (status[1] === "1" ? !words.includes("close") : words.includes("keep-alive")),
  };
}

/** By hand: an expression that looks for blanks at both ends takes minutes for a line of nothing else. */
function withoutBlanks(value: string): string {
  const isBlank = (index: number): boolean => value[index] === " " || value[index] === "\t";
  let [start, end] = [0, value.length];
  while (start < end && isBlank(start)) start++;
  while (end > start && isBlank(end - 1)) end--;
  return value.slice(start, end);
}

function addHeader(headers: Record<string, string | string[]>, name: string, value: string): void {
  // Not as a property of every object.
  const before = Object.hasOwn(headers, name) ? headers[name] : undefined;
  if (name === "set-cookie") headers[name] = [...(Array.isArray(before) ? before : []), value];
  else if (before === undefined) headers[name] = value;
  else if (name === "content-length" || name === "content-range") {
    if (before !== value) throw invalid(`it has two values of ${name}`);
  } else headers[name] = `${String(before)}, ${value}`;
}

/** RFC 9112 section 6.3. */
function framingOf(status: number, headers: Record<string, string | string[]>): ResponseHead["framing"] {
  if (status < 200 || status === 204 || status === 304) return 0;
  const length = headers["content-length"];
  const coding = headers["transfer-encoding"];
  if (coding !== undefined) {
    if (length !== undefined) throw invalid("it states its length in two ways");
    if (String(coding).toLowerCase() !== "chunked") throw invalid("its transfer-encoding is not chunked");
    return "chunked";
  }
  if (length === undefined) return "connection";
  if (typeof length !== "string" || !/^\d{1,15}$/.test(length)) throw invalid("its content-length is no number");
  return Number(length);
}

function invalid(why: string): InvalidAnswer {
  return new InvalidAnswer(why);
}
