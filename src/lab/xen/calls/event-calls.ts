import { eventsFrom, eventToken } from "../events.js";
import { XapiFault } from "../fault.js";
import { classShape } from "../database/classes.js";
import { method, type Method } from "../rpc/method.js";

const READ = { role: "read-only", isAsync: false } as const;

export const EVENT_CALLS: readonly Method[] = [
  method("event.from", { ...READ, takes: "classes:set token timeout:float" }, ({ pool, args, signal }) =>
    eventsFrom(pool.database, {
      classes: args.texts("classes"),
      token: args.text("token"),
      timeoutMs: args.number("timeout") * 1000,
      signal,
    }),
  ),
  method("event.inject", { ...READ, takes: "class ref" }, ({ pool, args }) => {
    const className = args.text("class");
    if (classShape(className) === undefined) throw new XapiFault("INVALID_VALUE", "class", className);
    pool.database.row(className, args.text("ref"));
    pool.database.touch(className, args.text("ref"));
    return eventToken(pool.database.generation - 1);
  }),
  method("event.get_current_id", READ, ({ pool }) => pool.database.generation),
];
