import type { IncomingMessage, ServerResponse } from "node:http";
import { z } from "zod";
import { VmmountError } from "../errors.js";
import { readBody, send } from "./http-request.js";

/** Largest control request: a guest write of a few MiB in base64. */
const REQUEST_BYTES_MAX = 16 * 1024 * 1024;

/** Answers a control request from this machine, and nobody else. @param answer undefined when there is no such control */
export async function serveControl(
  request: IncomingMessage,
  response: ServerResponse,
  answer: () => Promise<unknown>,
): Promise<void> {
  if (!isLoopback(request.socket.remoteAddress)) {
    reply(response, 403, { error: "The lab is controlled from its own machine only" });
    return;
  }
  try {
    const given = await answer();
    reply(response, given === undefined ? 404 : 200, given ?? { error: "No such control" });
  } catch (error) {
    if (!(error instanceof VmmountError || error instanceof z.ZodError || error instanceof SyntaxError)) throw error;
    reply(response, 400, { error: error instanceof z.ZodError ? z.prettifyError(error) : error.message });
  }
}

/** @throws SyntaxError when the body is no JSON or too large */
export async function readControl(request: IncomingMessage): Promise<unknown> {
  // A browser cannot send this type to another origin without asking first.
  if (!/^application\/json/.test(request.headers["content-type"] ?? "")) throw new SyntaxError("Send application/json");
  const body = await readBody(request, REQUEST_BYTES_MAX);
  if (body === undefined) throw new SyntaxError("The request is too large");
  return JSON.parse(body.toString("utf8"));
}

function isLoopback(address: string | undefined): boolean {
  return address === "::1" || /^(::ffff:)?127\./.test(address ?? "");
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  send(response, status, "application/json", `${JSON.stringify(body)}\n`);
}
