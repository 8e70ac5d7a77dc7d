import type { Database } from "./database/database.js";
import { isMap } from "./value.js";

/** Whether a guest that runs has the drivers that could quiesce it. */
export function guestQuiesces(database: Database, vm: string): boolean {
  const metrics = database.text("VM", vm, "guest_metrics");
  if (!database.has("VM_guest_metrics", metrics)) return false;
  const other = database.row("VM_guest_metrics", metrics)["other"] ?? "";
  return isMap(other) && other["feature-quiesce"] === "1";
}
