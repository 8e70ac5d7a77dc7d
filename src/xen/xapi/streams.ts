import { setTimeout as delay } from "node:timers/promises";
import { AuthError, HypervisorFaultError, UnreachableError } from "../../errors.js";
import { StreamExchange } from "../../https/stream-exchange.js";
import { bytes } from "../../units.js";
import type { Logger } from "../../log.js";
import type { XenLimits } from "./limits.js";
import type { Members } from "./members.js";
import type { Task } from "./tasks.js";
import type { XapiValue } from "./value.js";
import type { TaskCall, XenDownload, XenHost, XenUploadBody } from "./xapi.js";

/** What a stream needs of the client, for one transfer. */
export interface StreamParts {
  readonly members: Members;
  readonly limits: XenLimits;
  /** Drives the transfer on the server. */
  readonly task: Task;
  readonly session: string;
  readonly logger: Logger;
}

export interface HandlerRequest {
  readonly host: XenHost;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
}

/** @throws XapiFault with the task's error, UnreachableError, AuthError */
export async function beginDownload(
  request: HandlerRequest,
  parts: StreamParts,
  options: TaskCall,
): Promise<XenDownload> {
  const exchange = await begin({ ...request, method: "GET" }, parts, options);
  const { task } = parts;
  const length = exchange.head.framing;
  let finishing: Promise<void> | undefined;
  const finished = (): Promise<void> => {
    finishing ??= endOf(task, parts.limits, options).then(() => undefined);
    return finishing;
  };
  let isComplete = false;
  return {
    length: typeof length === "number" ? bytes(length) : undefined,
    body: (async function* () {
      yield* withoutErrorAnswer(exchange.body(), parts.limits.errorBodyBytesMax, finished);
      isComplete = true;
    })(),
    finished,
    async [Symbol.asyncDispose]() {
      await exchange[Symbol.asyncDispose]();
      // Its disk stays plugged into dom0 until the server notices that nobody reads any more.
      if (!isComplete || finishing === undefined) await task.cancel();
      await task.remove();
    },
  };
}

/** @returns the task's result @throws XapiFault with the task's error, UnreachableError */
export async function upload(
  request: HandlerRequest,
  body: XenUploadBody,
  parts: StreamParts,
  options: TaskCall,
): Promise<XapiValue> {
  const { length } = body;
  await using exchange = await begin({ ...request, method: "PUT", length }, parts, options);
  const wasTaken = await exchange.send(body.chunks);
  const taskEndMs = wasTaken ? parts.limits.uploadEndMs : parts.limits.taskEndMs;
  try {
    // The server reads to what it holds for the end and hangs up: only its task knows whether that was right.
    return await endOf(parts.task, { ...parts.limits, taskEndMs }, options);
  } catch (error) {
    if (wasTaken || !(error instanceof UnreachableError)) throw error;
    throw new UnreachableError(`Cannot send to ${request.host.name}: the server closed the connection`, {
      cause: error,
    });
  }
}

async function begin(
  request: HandlerRequest & { readonly method: "GET" | "PUT"; readonly length?: XenUploadBody["length"] },
  parts: StreamParts,
  options: TaskCall,
): Promise<StreamExchange> {
  const { members, limits, task, session, logger } = parts;
  const query = new URLSearchParams({ ...request.query, session_id: session, task_id: task.ref });
  // References may go as they are; some releases do not undo the escapes of a colon.
  const path = `${request.path}?${query.toString().replaceAll("%3A", ":")}`;
  const { method, length } = request;
  const wish = { method, path, ...(length === undefined ? {} : { length }), signal: options.signal };
  const bounds = { headMs: limits.streamHeadMs, stallMs: limits.streamStallMs };
  const open = (address: string): Promise<StreamExchange> =>
    StreamExchange.begin(
      { origin: members.origin(address), trust: members.trust(address), connectMs: limits.connectMs },
      { ...wish, ...bounds },
    );
  const startedAt = performance.now();
  const first = await open(request.host.address);
  const isRedirect = first.head.status === 302 || first.head.status === 307;
  const address = isRedirect ? await redirected(first, members) : request.host.address;
  const exchange = isRedirect ? await open(address) : first;
  // Not the query: the session stands in it.
  const fields = { host: address, ms: Math.round(performance.now() - startedAt), bytes: length ?? "unknown" };
  logger.debug(`${method} ${request.path} ${exchange.head.status}`, fields);
  if (exchange.head.status === 200) return exchange;
  throw await refusal(exchange, request, parts, options);
}

/** The member that can see the storage. Only known members: the session goes there. */
async function redirected(exchange: StreamExchange, members: Members): Promise<string> {
  await exchange[Symbol.asyncDispose]();
  const location = exchange.head.headers["location"] ?? "";
  const address = URL.canParse(location) ? new URL(location).hostname.replace(/^\[(.*)\]$/, "$1") : "";
  if (members.addresses.includes(address)) return address;
  throw new UnreachableError(`Cannot follow the server to "${address}": no host of the pool has this address`, {
    retryable: false,
    hint: "The session would be sent there; check host.address of every host (xe host-list params=address)",
  });
}

/** The task knows why; the page that came instead of the data knows a little. */
async function refusal(
  exchange: StreamExchange,
  { host, path }: HandlerRequest,
  { limits, task }: StreamParts,
  options: TaskCall,
): Promise<Error> {
  const { status } = exchange.head;
  const what = `Cannot use ${path} of ${host.name}`;
  // Its task has failed with the code of a wrong password then, which it is not.
  if (status === 401) return new AuthError(`${what}: the server refuses the session`, { retryable: true });
  const page = Buffer.concat(await firstBytes(exchange.body(), limits.errorBodyBytesMax)).toString("latin1");
  try {
    await endOf(task, { ...limits, taskEndMs: limits.cancelMs }, options);
  } catch (error) {
    if (!(error instanceof UnreachableError)) return error as Error;
  }
  if (status === 403) return new AuthError(`${what}: the account lacks the permission`);
  const [, reason = `it answers HTTP ${status}`] = /Additional information <\/h1>([^<]{1,300})/.exec(page) ?? [];
  return new HypervisorFaultError(`${what}: ${reason.replace(/[\s\u0000-\u001f\u007f]+/g, " ").trim()}`, {
    fault: `HTTP ${status}`,
    retryable: status >= 500,
  });
}

async function firstBytes(body: AsyncIterable<Uint8Array>, bytesMax: number): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of body) {
    pieces.push(piece);
    size += piece.length;
    if (size >= bytesMax) break;
  }
  return pieces;
}

/** Waits for a task whose transfer is over. */
async function endOf(task: Task, limits: XenLimits, options: TaskCall): Promise<XapiValue> {
  const late = new AbortController();
  const signal = AbortSignal.any([options.signal, late.signal]);
  const result = task.result({ ...options, signal });
  const stop = new AbortController();
  const timer = delay(limits.taskEndMs, undefined, { signal: stop.signal, ref: false }).then(
    () => {
      late.abort(new UnreachableError(`The transfer has ended, but not its task, for ${limits.taskEndMs / 1000} s`));
    },
    () => undefined,
  );
  try {
    return await result;
  } finally {
    stop.abort();
    await timer;
  }
}

const HTTP_STATUS = Buffer.from("HTTP/1.");

/**
 * When a transfer fails after "200 OK" was sent, a whole second answer comes where the data should be. It is short, and
 * the connection ends with it: a disk that happens to begin with the same letters goes on.
 */
async function* withoutErrorAnswer(
  body: AsyncIterable<Uint8Array>,
  bytesMax: number,
  finished: () => Promise<void>,
): AsyncGenerator<Uint8Array, void, undefined> {
  let held: Uint8Array | undefined = Buffer.alloc(0);
  for await (const piece of body) {
    if (held === undefined) {
      yield piece;
      continue;
    }
    held = Buffer.concat([held, piece]);
    const known = Math.min(held.length, HTTP_STATUS.length);
    const isSuspect = HTTP_STATUS.subarray(0, known).equals(held.subarray(0, known));
    if (isSuspect && held.length < bytesMax) continue;
    yield held;
    held = undefined;
  }
  if (held === undefined || held.length === 0) return;
  await finished();
  yield held;
}
