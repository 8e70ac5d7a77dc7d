import { XapiFault } from "../fault.js";
import type { Role } from "../roles.js";
import { method, type Method } from "../rpc/method.js";

const READ = { role: "read-only", isAsync: false } satisfies { role: Role; isAsync: boolean };

/** Calls on the session itself. Login is no method of this kind: it has no session yet. */
export const SESSION_CALLS: readonly Method[] = [
  method("session.logout", READ, ({ pool, session }) => {
    pool.sessions.end(session.ref);
    return "";
  }),
  method("task.create", { ...READ, takes: "label description" }, ({ pool, host, args }) =>
    pool.tasks.create(args.text("label"), args.text("description"), host.ref),
  ),
  method("task.destroy", { ...READ, takes: "self:task" }, ({ pool, args }) => {
    pool.tasks.destroy(args.text("self"));
    return "";
  }),
  method("task.cancel", { ...READ, takes: "self:task" }, ({ pool, args }) => {
    pool.tasks.cancel(args.text("self"));
    return "";
  }),
  method("task.set_status", { ...READ, takes: "self:task value", since: "8.2" }, ({ pool, args }) => {
    const status = args.text("value");
    if (!["success", "failure", "cancelled"].includes(status)) throw new XapiFault("INVALID_VALUE", "status", status);
    pool.tasks.finishAs(args.text("self"), status);
    return "";
  }),
  method("task.set_progress", { ...READ, takes: "self:task value:float", since: "8.2" }, ({ pool, args }) => {
    pool.database.update("task", args.text("self"), { progress: args.value("value") });
    return "";
  }),
  method("task.set_result", { ...READ, takes: "self:task value", since: "8.3" }, ({ pool, args }) => {
    pool.database.update("task", args.text("self"), { result: args.text("value") });
    return "";
  }),
  method("task.set_error_info", { ...READ, takes: "self:task value:set", since: "8.3" }, ({ pool, args }) => {
    pool.database.update("task", args.text("self"), { error_info: args.texts("value") });
    return "";
  }),
];
