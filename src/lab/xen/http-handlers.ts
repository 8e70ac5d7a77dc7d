// For whoever writes the data handlers: register them in handlers/register.ts, NBD servers are started by nbd/serve.ts.
// The interface: HandlerCall below, XenPool (xen-pool.ts), Database (database/database.ts: row, record, create, update,
// delete, byUuid, where), VdiStore (vdi-store.ts), Attachments (attachments.ts: plug a VDI while it is read),
// during (operations.ts: current_operations), databaseText (database/text.ts), xmlValue (rpc/xml-values.ts), Profile.
import type { IncomingMessage, ServerResponse } from "node:http";
import type { RuleAction } from "../rules.js";
import type { PoolHost } from "./pool-host.js";
import type { RawAnswer } from "./raw-answer.js";
import type { Role } from "./roles.js";
import type { PoolSession } from "./sessions.js";
import type { PoolTask } from "./tasks.js";
import type { Value } from "./value.js";
import type { XenPool } from "./xen-pool.js";

/** One request to an HTTP handler: its session and role are checked, its task is pending. */
export interface HandlerCall {
  readonly pool: XenPool;
  /** The host that was asked. */
  readonly host: PoolHost;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly session: PoolSession;
  /** The task of the query, or a new one. It ends with what the handler returns or throws. */
  readonly task: PoolTask;
  /** Its body is an upload. */
  readonly request: IncomingMessage;
  /** For plain answers; not to be mixed with `answer`. */
  readonly response: ServerResponse;
  /** For answers with a status line and headers to the letter, cut off or slow when rules want it. */
  readonly answer: RawAnswer;
  /** What rules want of this request. */
  readonly actions: readonly RuleAction[];
  /** Aborted when the client has gone or has cancelled the task. */
  readonly signal: AbortSignal;
}

/**
 * Does the work and returns the result of the task ("" for none). A fault that is thrown before the answer has begun
 * becomes an HTTP 500 page, one that is thrown after it a second response in the middle of the body; the task fails.
 */
export type HttpHandler = (call: HandlerCall) => Promise<Value>;

export interface HandlerEntry {
  readonly method: "GET" | "PUT" | "POST";
  /** Longest prefix wins, so `/export` also answers `/export/`. */
  readonly path: string;
  readonly role: Role;
  /** By which a session that lacks it is refused: `http/get_export`. */
  readonly permission: string;
  /** Label of the task that is made when the client gives none. */
  readonly label: string;
  readonly run: HttpHandler;
}

export class HttpHandlers {
  readonly #entries: HandlerEntry[] = [];

  register(entry: HandlerEntry): void {
    this.#entries.push(entry);
  }

  find(method: string, path: string): HandlerEntry | undefined {
    return this.#entries
      .filter((entry) => entry.method === method && (path === entry.path || path.startsWith(`${entry.path}/`)))
      .sort((a, b) => b.path.length - a.path.length)[0];
  }
}
