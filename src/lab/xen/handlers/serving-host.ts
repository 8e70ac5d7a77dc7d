import { XapiFault } from "../fault.js";
import type { HandlerCall } from "../http-handlers.js";
import { MovedTask } from "../moved-task.js";
import type { PoolHost } from "../pool-host.js";

/**
 * Goes on when this host sees all storage that the request is about; otherwise sends the client to a random one of those that do.
 * Only the query goes along, no cookie.
 * @param nobody what the task fails with when no host sees all of it
 * @throws MovedTask when the client was sent away
 */
export async function assertServedHere(call: HandlerCall, srs: readonly string[], nobody: XapiFault): Promise<void> {
  const { pool, host, answer, request, query } = call;
  const sees = (one: PoolHost): boolean => srs.every((sr) => pool.attachments.sees(one, sr));
  if (sees(host)) return;
  const able = pool.hosts.filter((one) => one.isRunning && sees(one));
  const chosen = able[Math.floor(Math.random() * able.length)];
  if (chosen === undefined) throw nobody;
  const location = `https://${chosen.address}:${request.socket.localPort ?? 443}${request.url ?? ""}`;
  await answer.begin("HTTP/1.1 302 Found", [
    ["Location", location],
    ["Connection", "close"],
    ["content-length", "0"],
  ]);
  answer.end();
  // A task of our own is of no use there: that host makes another one.
  if (!query.has("task_id")) pool.tasks.destroy(call.task.ref);
  throw new MovedTask(location);
}

/** Storage that no running host sees as a whole. */
export function noHost(): XapiFault {
  return new XapiFault("NO_HOSTS_AVAILABLE");
}
