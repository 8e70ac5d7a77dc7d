import type { HttpHandlers } from "../http-handlers.js";

/** Every HTTP handler that moves data in or out of the pool. */
export function registerDataHandlers(handlers: HttpHandlers): void {
  handlers.find("GET", "");
}
