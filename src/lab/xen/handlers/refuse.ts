import type { HandlerCall } from "../http-handlers.js";

/** An answer without a body, for what is wrong with the request itself. @param line status line */
export async function refuse({ answer }: HandlerCall, line: string): Promise<void> {
  await answer.begin(line, [
    ["connection", "close"],
    ["cache-control", "no-cache, no-store"],
    ["content-length", "0"],
  ]);
  answer.end();
}
