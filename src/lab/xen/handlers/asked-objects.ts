import { XapiFault } from "../fault.js";
import type { HandlerCall } from "../http-handlers.js";

/** The VM or snapshot of a request: `ref` is looked at before `uuid`. @throws XapiFault HANDLE_INVALID, UUID_INVALID */
export function askedVm({ pool: { database }, query }: HandlerCall): string {
  const ref = query.get("ref");
  if (ref === null) return database.byUuid("VM", query.get("uuid") ?? "");
  database.row("VM", ref);
  return ref;
}

/** A disk by reference or uuid; undefined when the request names none. @throws XapiFault HANDLE_INVALID */
export function askedVdi({ pool: { database }, query }: HandlerCall, parameter = "vdi"): string | undefined {
  const name = query.get(parameter);
  if (name === null) return undefined;
  const [byUuid] = database.where("VDI", "uuid", name);
  if (byUuid !== undefined) return byUuid;
  database.row("VDI", name);
  return name;
}

/** Storage by reference or uuid; undefined when the request names none. @throws XapiFault HANDLE_INVALID, UUID_INVALID */
export function askedSr({ pool: { database }, query }: HandlerCall): string | undefined {
  const ref = query.get("sr_id");
  if (ref !== null) {
    database.row("SR", ref);
    return ref;
  }
  const uuid = query.get("sr_uuid");
  return uuid === null ? undefined : database.byUuid("SR", uuid);
}

/** As the request names it, or the pool's own. @throws XapiFault DEFAULT_SR_NOT_FOUND */
export function askedOrDefaultSr(call: HandlerCall): string {
  const asked = askedSr(call);
  if (asked !== undefined) return asked;
  const { database, poolRef } = call.pool;
  const sr = database.text("pool", poolRef, "default_SR");
  if (!database.has("SR", sr)) throw new XapiFault("DEFAULT_SR_NOT_FOUND", sr);
  return sr;
}

/** A switch of the query: only "true" is one. */
export function isAsked({ query }: HandlerCall, name: string): boolean {
  return query.get(name) === "true";
}
