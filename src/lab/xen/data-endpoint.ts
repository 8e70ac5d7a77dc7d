import type { IncomingMessage, ServerResponse } from "node:http";
import { clientGone } from "../http-request.js";
import type { RuleAction } from "../rules.js";
import { mayAnswer, misbehave } from "../misbehave.js";
import { errorPage, faultText, sendErrorPage } from "./error-page.js";
import { XapiFault } from "./fault.js";
import { registerDataHandlers } from "./handlers/register.js";
import { HttpHandlers, type HandlerEntry } from "./http-handlers.js";
import { MovedTask } from "./moved-task.js";
import type { PoolHost } from "./pool-host.js";
import { RawAnswer } from "./raw-answer.js";
import { isAtLeast } from "./roles.js";
import type { PoolSession } from "./sessions.js";
import type { XenPool } from "./xen-pool.js";

interface Exchange {
  readonly entry: HandlerEntry;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly actions: readonly RuleAction[];
  readonly signal: AbortSignal;
}

/** The HTTP handlers of one host, on members as on the master: who asks, for which task, and how it ends. */
export class DataEndpoint {
  readonly #pool: XenPool;
  readonly #host: PoolHost;
  readonly #handlers = new HttpHandlers();

  constructor(pool: XenPool, host: PoolHost) {
    this.#pool = pool;
    this.#host = host;
    registerDataHandlers(this.#handlers);
  }

  /** @param told the status of an answer that is written past the response. @returns false when no handler is there */
  async handle(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    told: (status: number) => void,
  ): Promise<boolean> {
    const pool = this.#pool;
    const entry = this.#handlers.find(request.method ?? "", path);
    if (entry === undefined) return false;
    const query = new URLSearchParams((request.url ?? "").replace(/^[^?]*\??/s, ""));
    for (const [name, value] of cookies(request)) if (!query.has(name)) query.set(name, value);
    pool.traffic.fileRequest(entry.path);
    const named = ["ref", "uuid", "vdi", "sr_id", "sr_uuid"].flatMap((name) => query.getAll(name));
    const refs = named.map((name) => this.#refOf(name));
    const actions = pool.actions(entry.method, entry.path, refs);
    const signal = clientGone(response);
    const expireSessions = (): void => {
      pool.sessions.endAll();
    };
    const { holds } = pool.rules;
    if (!(await misbehave({ response, actions, signal, holds, expireSessions }))) return true;
    // What a transfer does to the pool ends with it: only the moment before its first byte is worth a hold or a drop.
    if (!(await mayAnswer({ response, actions, signal, holds }))) return true;
    told(await this.#answer({ entry, request, response, path, query, actions, signal }));
    return true;
  }

  /** @returns the status, 0 when the response knows it */
  async #answer(exchange: Exchange): Promise<number> {
    const { entry, response, query, actions, request } = exchange;
    const pool = this.#pool;
    const given = query.get("task_id");
    let session: PoolSession;
    let temporary: PoolSession | undefined;
    try {
      const basic = basicLogin(request);
      if (!query.has("session_id") && basic !== undefined) {
        temporary = pool.sessions.login(basic.user, basic.password, "", this.#host.ref);
      }
      session = temporary ?? pool.sessions.use(query.get("session_id") ?? "");
    } catch {
      if (given !== null && pool.database.has("task", given)) {
        pool.tasks.fail(given, new XapiFault("SESSION_AUTHENTICATION_FAILED"));
      }
      response.setHeader("WWW-Authenticate", `Basic realm="${pool.profile.softwareVersion["product_brand"] ?? ""}"`);
      sendErrorPage(response, 401, "Authentication failed");
      return 0;
    }
    const answer = new RawAnswer(request.socket, actions, (bytes) => {
      pool.traffic.fileBytes(entry.path, bytes);
    });
    const task = given ?? pool.tasks.create(entry.label, "", this.#host.ref);
    try {
      await this.#work(exchange, { session, answer, task });
    } catch (error) {
      // The handler has told the client where to go.
      if (!(error instanceof MovedTask)) this.#fail(exchange, answer, XapiFault.of(error));
    } finally {
      if (temporary !== undefined) pool.sessions.end(temporary.ref);
    }
    return answer.status;
  }

  async #work(
    { entry, request, response, path, query, actions, signal }: Exchange,
    { session, answer, task: taskRef }: { session: PoolSession; answer: RawAnswer; task: string },
  ): Promise<void> {
    const pool = this.#pool;
    await pool.tasks.work(taskRef, async (task) => {
      if (!isAtLeast(session.role, entry.role)) {
        throw new XapiFault("RBAC_PERMISSION_DENIED", entry.permission, "No permission in user session");
      }
      const failure = actions.find((action) => action.kind === "fault" && action.where === "call");
      if (failure?.kind === "fault") throw new XapiFault(failure.name, ...failure.parameters);
      const either = AbortSignal.any([signal, task.signal]);
      const facts = { pool, host: this.#host, path, query, session, task, request, response, answer, actions };
      const result = await entry.run({ ...facts, signal: either });
      await pool.save();
      return result;
    });
  }

  #fail({ response, request }: Exchange, answer: RawAnswer, fault: XapiFault): void {
    this.#pool.logger.debug("A data handler failed", { path: request.url?.replace(/\?.*/s, ""), fault: fault.message });
    if (answer.status === 0 && !response.headersSent) {
      sendErrorPage(response, fault.code === "RBAC_PERMISSION_DENIED" ? 403 : 500, faultText(fault));
      return;
    }
    // XAPI writes a whole second response into the body.
    const page = errorPage(faultText(fault));
    const head = `HTTP/1.1 500 Internal Error\r\ncontent-length: ${Buffer.byteLength(page)}\r\nconnection: close\r\n\r\n`;
    if (!request.socket.writableEnded && !request.socket.destroyed) request.socket.end(head + page);
  }

  /** Handlers take references and uuids. */
  #refOf(name: string): string {
    const { database } = this.#pool;
    for (const className of ["VM", "VDI", "SR"]) {
      const [found] = database.where(className, "uuid", name);
      if (found !== undefined) return found;
    }
    return name;
  }
}

function cookies(request: IncomingMessage): [string, string][] {
  return (request.headers.cookie ?? "").split(/;\s*/).flatMap((pair): [string, string][] => {
    const [name = "", value] = pair.split(/=(.*)/s);
    return value !== undefined && ["session_id", "task_id"].includes(name) ? [[name, decodeURIComponent(value)]] : [];
  });
}

function basicLogin(request: IncomingMessage): { readonly user: string; readonly password: string } | undefined {
  const match = /^Basic\s+([\w+/=]+)$/i.exec(request.headers.authorization ?? "");
  if (match === null) return undefined;
  const [user = "", password = ""] = Buffer.from(match[1] ?? "", "base64")
    .toString("utf8")
    .split(/:(.*)/s);
  return { user, password };
}
