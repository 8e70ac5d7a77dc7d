import { once } from "node:events";
import type { FileHandle } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { sendPage } from "../http-request.js";
import type { RuleAction } from "../rules.js";
import type { Traffic } from "../traffic.js";
import { Line } from "./line.js";

/** Bytes read and sent at a time. */
const CHUNK_BYTES = 1024 * 1024;

/** Lines that several transfers share, by the action of their rule. */
const sharedLines = new WeakMap<RuleAction, Line>();

export interface FileTransfer {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly file: FileHandle;
  /** `[datastore] path`, for the counters. */
  readonly label: string;
  readonly actions: readonly RuleAction[];
  readonly signal: AbortSignal;
  readonly traffic: Traffic;
}

interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** Sends a file or one range of it. */
export async function sendFile(transfer: FileTransfer): Promise<void> {
  const { request, response, file } = transfer;
  const { size, mtime } = await file.stat();
  const range = parseRange(request.headers.range, size);
  response.setHeader("Accept-Ranges", "bytes");
  response.setHeader("Last-Modified", mtime.toUTCString());
  if (range === "unsatisfiable") {
    response.setHeader("Content-Range", `bytes */${size}`);
    sendPage(response, 416, "Range not satisfiable");
    return;
  }
  const { start, end } = range ?? { start: 0, end: size - 1 };
  response.writeHead(range === undefined ? 200 : 206, {
    "Content-Type": "application/octet-stream",
    "Content-Length": end - start + 1,
    ...(range === undefined ? {} : { "Content-Range": `bytes ${start}-${end}/${size}` }),
  });
  if (request.method === "HEAD") {
    response.end();
    return;
  }
  await sendBytes(transfer, start, end + 1);
}

async function sendBytes({ response, file, label, actions, signal, traffic }: FileTransfer, from: number, to: number) {
  const line = lineOf(actions);
  const cut = actions.find((action) => action.kind === "cut")?.afterBytes;
  const end = cut === undefined ? to : Math.min(to, from + cut);
  for (let at = from; at < end && !signal.aborted;) {
    // Not reused: the socket may still hold the previous chunk.
    const chunk = Buffer.allocUnsafe(Math.min(line?.chunkBytes ?? CHUNK_BYTES, end - at));
    const { bytesRead } = await file.read(chunk, 0, chunk.length, at);
    // The file was cut while it was being sent: the client must see a short body, not a clean end.
    if (bytesRead === 0) break;
    at += bytesRead;
    await line?.carry(bytesRead, signal);
    traffic.fileBytes(label, bytesRead);
    if (!response.write(chunk.subarray(0, bytesRead))) await once(response, "drain", { signal }).catch(() => undefined);
    if (at === to) {
      response.end();
      return;
    }
  }
  if (from === to) response.end();
  else response.destroy();
}

function lineOf(actions: readonly RuleAction[]): Line | undefined {
  const action = actions.find((candidate) => candidate.kind === "bandwidth");
  if (action === undefined) return undefined;
  if (action.scope === "transfer") return new Line(action.bytesPerSecond);
  const line = sharedLines.get(action) ?? new Line(action.bytesPerSecond);
  sharedLines.set(action, line);
  return line;
}

/** One `bytes=` range (RFC 9110, section 14.1.2); several, or anything else, is ignored as the RFC allows. */
export function parseRange(header: string | undefined, size: number): ByteRange | "unsatisfiable" | undefined {
  const match = /^bytes=(\d{0,16})-(\d{0,16})$/.exec(header ?? "");
  if (match === null || (match[1] === "" && match[2] === "")) return undefined;
  if (match[1] === "") {
    const length = Math.min(Number(match[2]), size);
    return length === 0 ? "unsatisfiable" : { start: size - length, end: size - 1 };
  }
  const start = Number(match[1]);
  const end = match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (match[2] !== "" && Number(match[2]) < start) return undefined;
  return start >= size ? "unsatisfiable" : { start, end };
}
