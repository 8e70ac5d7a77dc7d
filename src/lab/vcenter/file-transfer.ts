import type { FileHandle } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { sendPage } from "../http-request.js";
import type { RuleAction } from "../rules.js";
import type { Traffic } from "../traffic.js";
import { lineOf } from "../line.js";

/** Bytes read and sent at a time: they stay in a processor's cache from the read to the encryption. */
const CHUNK_BYTES = 256 * 1024;
/** Chunks that wait for the next transfer: two for each of some dozen connections. */
const SPARE_CHUNKS_MAX = 64;
/** New buffers for every range would make V8 collect garbage for a fifth of its time. */
const spareChunks: Buffer[] = [];

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

async function sendBytes(transfer: FileTransfer, from: number, to: number): Promise<void> {
  const { response, file, label, actions, signal, traffic } = transfer;
  const line = lineOf(actions);
  const cut = actions.find((action) => action.kind === "cut")?.afterBytes;
  const end = cut === undefined ? to : Math.min(to, from + cut);
  // One is filled while the other is on its way.
  let [chunk, other] = [takeChunk(), takeChunk()];
  let onItsWay = Promise.resolve();
  let at = from;
  // On their own: with the first chunk behind them, all of it would be copied together.
  response.flushHeaders();
  while (at < end && !signal.aborted) {
    const { bytesRead } = await file.read(chunk, 0, Math.min(line?.chunkBytes ?? CHUNK_BYTES, end - at), at);
    // The file was cut while it was being sent: the client must see a short body, not a clean end.
    if (bytesRead === 0) break;
    at += bytesRead;
    await line?.carry(bytesRead, signal);
    await onItsWay;
    traffic.fileBytes(label, bytesRead);
    onItsWay = written(response, chunk.subarray(0, bytesRead), signal);
    [chunk, other] = [other, chunk];
  }
  await onItsWay;
  // After an abort the socket may still hold them.
  if (!signal.aborted && spareChunks.length < SPARE_CHUNKS_MAX) spareChunks.push(chunk, other);
  if (at === to) response.end();
  else response.destroy();
}

function takeChunk(): Buffer {
  return spareChunks.pop() ?? Buffer.allocUnsafeSlow(CHUNK_BYTES);
}

/** Resolves when the socket has taken the bytes, or nobody waits for them any more. */
function written(response: ServerResponse, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      signal.removeEventListener("abort", done);
      resolve();
    };
    signal.addEventListener("abort", done, { once: true });
    response.write(bytes, done);
    if (signal.aborted) done();
  });
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
