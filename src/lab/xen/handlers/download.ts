import { XapiFault } from "../fault.js";
import type { HandlerCall } from "../http-handlers.js";

/** Between two changes of a task's progress. Real hosts wait 10 s, which no test could. */
const PROGRESS_MS = 200;

export interface DownloadHead {
  /** Of the status line: archives are answered with 1.0. */
  readonly version: "1.0" | "1.1";
  readonly type: string;
  readonly fileName: string;
  /** Bytes, where they are known in advance. */
  readonly length?: number;
}

/** Answers 200, which on a real host proves nothing: the work has not begun. */
export async function beginDownload(
  { answer, task, pool }: HandlerCall,
  { version, type, fileName, length }: DownloadHead,
): Promise<void> {
  const [major, minor] = pool.profile.xapi;
  await answer.begin(`HTTP/${version} 200 OK`, [
    ["Connection", "close"],
    ["Cache-Control", "no-cache, no-store"],
    ["task-id", task.ref],
    ["Server", `xapi/${major}.${minor}`],
    ["content-type", type],
    ["Content-Disposition", `attachment; filename="${fileName}"`],
    ...(length === undefined ? [] : ([["Content-Length", String(length)]] as const)),
  ]);
}

/** Sends a body as it comes; the end of the connection is its end. @throws what the stream or the client's leaving throws */
export async function sendBody({ answer, signal }: HandlerCall, body: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const chunk of body) {
    if (signal.aborted) throw stopped(signal);
    await answer.write(chunk);
  }
  answer.end();
}

/** Tells a task how far the reading of its disks has come; `total` in bytes. */
export function progressOf({ task }: HandlerCall, total: number): (bytes: number) => void {
  let done = 0;
  let toldMs = 0;
  return (bytes) => {
    done += bytes;
    if (total === 0 || Date.now() - toldMs < PROGRESS_MS) return;
    toldMs = Date.now();
    task.setProgress(Math.min(1, done / total));
  };
}

/** Why a signal of a request is aborted: the client has gone unless its task says something else. */
export function stopped(signal: AbortSignal): XapiFault {
  return signal.reason instanceof XapiFault
    ? signal.reason
    : new XapiFault("CLIENT_ERROR", "The connection was closed by the client");
}
