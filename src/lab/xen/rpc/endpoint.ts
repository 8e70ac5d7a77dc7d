import type { IncomingMessage, ServerResponse } from "node:http";
import { clientGone, readBody } from "../../http-request.js";
import { mayAnswer, misbehave } from "../../misbehave.js";
import { sendErrorPage } from "../error-page.js";
import { XapiFault } from "../fault.js";
import type { PoolHost } from "../pool-host.js";
import type { Value } from "../value.js";
import type { XenPool } from "../xen-pool.js";
import { dispatch, isBare, plainName } from "./dispatch.js";
import { parseJsonCall } from "./json-message.js";
import { MalformedCall, type RpcMessage } from "./message.js";
import type { Method } from "./method.js";
import { methodTable } from "./method-table.js";
import { parseXmlCall } from "./xml-message.js";

/** XAPI's own limit of a request's body. */
const REQUEST_BYTES_MAX = 300 * 1024;

/** XML-RPC and JSON-RPC of one host. */
export class RpcEndpoint {
  readonly #pool: XenPool;
  readonly #host: PoolHost;
  readonly #table: ReadonlyMap<string, Method>;

  constructor(pool: XenPool, host: PoolHost) {
    this.#pool = pool;
    this.#host = host;
    this.#table = methodTable(pool.profile.name);
  }

  async handle(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const body = await readBody(request, REQUEST_BYTES_MAX);
    if (body === undefined) {
      sendErrorPage(response, 500, "The request is too large");
      return;
    }
    let message: RpcMessage;
    try {
      const text = body.toString("utf8");
      message = path.startsWith("/jsonrpc") ? parseJsonCall(text, this.#pool.profile.name) : parseXmlCall(text);
    } catch (error) {
      if (!(error instanceof MalformedCall)) throw error;
      sendErrorPage(response, 500, error.message);
      return;
    }
    await this.#answer(message, { request, response, path });
  }

  async #answer(
    message: RpcMessage,
    { request, response, path }: { request: IncomingMessage; response: ServerResponse; path: string },
  ): Promise<void> {
    const pool = this.#pool;
    const refs = references(message.params.slice(1));
    const name = plainName(message.method);
    pool.traffic.method(name, pool.machineName(refs));
    const actions = pool.actions(name, path, refs);
    const signal = clientGone(response);
    const expireSessions = (): void => {
      pool.sessions.endAll();
    };
    const { holds } = pool.rules;
    if (!(await misbehave({ response, actions, signal, holds, expireSessions }))) return;
    const facts = { pool, host: this.#host, table: this.#table, actions, signal };
    const text = await dispatch(message, facts).then(
      (value) => message.success(value, isBare(message.method)),
      (error: unknown) => message.failure(this.#fault(message, error)),
    );
    if (!(await mayAnswer({ response, actions, signal, holds }))) return;
    sendAnswer(request, response, { contentType: message.contentType, text });
  }

  #fault({ method }: RpcMessage, error: unknown): XapiFault {
    if (!(error instanceof XapiFault)) {
      const stack = error instanceof Error ? error.stack : String(error);
      this.#pool.logger.error("The lab failed to answer a call", { method, error: stack });
    }
    return XapiFault.of(error);
  }
}

interface AnswerText {
  readonly contentType: string;
  readonly text: string;
}

function sendAnswer(request: IncomingMessage, response: ServerResponse, { contentType, text }: AnswerText): void {
  const closes = request.httpVersion === "1.0" || /\bclose\b/i.test(request.headers.connection ?? "");
  response.sendDate = false;
  response.writeHead(200, {
    "content-length": Buffer.byteLength(text),
    connection: closes ? "close" : "keep-alive",
    "cache-control": "no-cache, no-store",
    "content-type": contentType,
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "X-Requested-With",
  });
  response.end(text);
}

/** References among the parameters, also inside of lists: by these a rule can name an object. */
function references(params: readonly Value[]): string[] {
  return params.flatMap((value) => {
    if (Array.isArray(value)) return references(value as readonly Value[]);
    return typeof value === "string" && value.startsWith("OpaqueRef:") ? [value] : [];
  });
}
