import { setTimeout as sleep } from "node:timers/promises";
import type { XapiFault } from "../fault.js";
import type { HandlerCall } from "../http-handlers.js";
import { refuse } from "./refuse.js";

interface UploadRules {
  /** Status line for a body with a transfer coding, which xapi cannot read. */
  readonly codedStatus: string;
  readonly codedFault: XapiFault;
}

/**
 * Answers 200 before the body is read, and closes the connection with the answer: what the client still sends then is refused by
 * the kernel.
 * @returns the body; it ends early when the client leaves
 * @throws XapiFault for a transfer coding
 */
export async function beginUpload(
  call: HandlerCall,
  { codedStatus, codedFault }: UploadRules,
): Promise<AsyncIterable<Buffer>> {
  const { request, answer, task } = call;
  const { socket } = request;
  socket.once("finish", () => socket.destroy());
  if (request.headers["transfer-encoding"] !== undefined) {
    await refuse(call, codedStatus);
    throw codedFault;
  }
  await answer.begin("HTTP/1.1 200 OK", [
    ["Connection", "close"],
    ["Cache-Control", "no-cache, no-store"],
    ["task-id", task.ref],
    ["content-type", "application/octet-stream"],
  ]);
  return bodyOf(call);
}

async function* bodyOf({ request, actions }: HandlerCall): AsyncGenerator<Buffer> {
  const rate = actions.find((action) => action.kind === "bandwidth")?.bytesPerSecond;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      if (rate !== undefined) await sleep((chunk.length / rate) * 1000);
      yield chunk;
    }
  } catch (error) {
    // Whoever reads sees that bytes are missing.
    if (!request.socket.destroyed && !request.destroyed) throw error;
  }
}
