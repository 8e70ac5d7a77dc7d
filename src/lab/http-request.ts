import type { IncomingMessage, ServerResponse } from "node:http";

/** Reads a request's body, at most `max` bytes. @returns undefined when it is longer */
export async function readBody(request: IncomingMessage, max: number): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let length = 0;
  // Leaving the loop must not destroy the request: its answer still has to go out.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > max) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

export function send(response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, { "Content-Type": type, "Content-Length": Buffer.byteLength(body) });
  response.end(body);
}

/** An error page as a web server in front of the service shows it. */
export function sendPage(response: ServerResponse, status: number, text: string): void {
  const body = `<html><head><title>${status}</title></head><body><h1>${status}</h1><p>${text}</p></body></html>\n`;
  send(response, status, "text/html", body);
}

/** Aborted when the client closes its connection before the answer is complete. */
export function clientGone(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  response.once("close", () => {
    controller.abort();
  });
  return controller.signal;
}
