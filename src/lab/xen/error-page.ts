import type { ServerResponse } from "node:http";
import type { XapiFault } from "./fault.js";

/** The page that XAPI shows for what goes wrong outside of calls. */
export function errorPage(information: string): string {
  return [
    "<html><body><h1>HTTP 500 internal server error</h1>",
    "An unexpected error occurred; please wait a while and try again. If the problem persists, please contact your support representative.",
    `<h1> Additional information </h1>${information}</body></html>`,
  ].join("");
}

/** `CODE: [ p1; p2 ]` */
export function faultText({ code, parameters }: XapiFault): string {
  return `${code}: [ ${parameters.join("; ")} ]`;
}

export function sendErrorPage(response: ServerResponse, status: number, information: string): void {
  const body = errorPage(information.replaceAll("<", "&lt;"));
  response.sendDate = false;
  response.writeHead(status, {
    "content-length": Buffer.byteLength(body),
    connection: "close",
    "cache-control": "no-cache, no-store",
    "content-type": "text/html; charset=UTF-8",
  });
  response.end(body);
}
