import type { IncomingMessage, ServerResponse } from "node:http";
import type { Logger } from "../../log.js";
import { clientGone, readBody, send, sendPage } from "../http-request.js";
import { mayAnswer, misbehave } from "../misbehave.js";
import { API_VERSIONS } from "./service-content.js";
import { askedProperties } from "./asked-properties.js";
import { answerCall, faultReply, parseCall, type SoapCall } from "./soap-endpoint.js";
import { SESSION_COOKIE } from "./sessions.js";
import type { VCenter } from "./vcenter.js";

/** Largest SOAP request: property filters over some thousand objects stay below. */
const REQUEST_BYTES_MAX = 4 * 1024 * 1024;
const XML = `text/xml; charset="utf-8"`;

/** `/sdk`: SOAP by POST, and the list of API versions by GET. */
export class SdkEndpoint {
  readonly #server: VCenter;
  readonly #logger: Logger;

  constructor(server: VCenter, logger: Logger) {
    this.#server = server;
    this.#logger = logger;
  }

  async handle(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    if (request.method === "GET" && path === "/sdk/vimServiceVersions.xml") {
      await this.#versions(response, path);
    } else if (request.method === "POST" && ["/sdk", "/sdk/", "/sdk/vimService"].includes(path)) {
      await this.#soap(request, response, path);
    } else {
      sendPage(response, request.method === "POST" ? 404 : 405, "No such service");
    }
  }

  async #versions(response: ServerResponse, path: string): Promise<void> {
    const { rules, sessions } = this.#server;
    const actions = rules.actionsFor({ method: "GET", path, objects: [] });
    const expireSessions = (): void => {
      sessions.endAll();
    };
    const misbehaviour = { response, actions, signal: clientGone(response), holds: rules.holds };
    if (!(await misbehave({ ...misbehaviour, expireSessions })) || !(await mayAnswer(misbehaviour))) return;
    send(response, 200, "text/xml", versionsXml());
  }

  async #soap(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const body = await readBody(request, REQUEST_BYTES_MAX);
    if (body === undefined) {
      response.setHeader("Connection", "close");
      sendPage(response, 413, "The request is too large");
      return;
    }
    let call: SoapCall;
    try {
      call = parseCall(body.toString("utf8"));
    } catch (error) {
      send(response, 500, XML, faultReply(error, this.#logger).body);
      return;
    }
    await this.#answer(request, response, path, call);
  }

  async #answer(request: IncomingMessage, response: ServerResponse, path: string, call: SoapCall): Promise<void> {
    const server = this.#server;
    const signal = clientGone(response);
    server.traffic.method(call.method, server.machineOf(call.target)?.name);
    const objects = server.wordsFor(call.target);
    const actions = server.rules.actionsFor({ method: call.method, path, objects, about: askedProperties(call) });
    const expireSessions = (): void => {
      server.sessions.endAll();
    };
    const { holds } = server.rules;
    if (!(await misbehave({ response, actions, signal, holds, expireSessions }))) return;
    if (server.sessions.isFull) {
      sendPage(response, 503, "Out of HTTP sessions: Limited to 2000");
      return;
    }
    const reply = await answerCall(call, {
      server,
      session: server.sessions.find(request.headers.cookie),
      client: { address: request.socket.remoteAddress ?? "", userAgent: request.headers["user-agent"] ?? "" },
      signal,
      actions,
      logger: this.#logger,
    });
    this.#logger.debug("Lab answered a SOAP call", {
      method: call.method,
      object: call.target.ref,
      status: reply.status,
    });
    if (!(await mayAnswer({ response, actions, signal, holds }))) return;
    if (reply.opened !== undefined) {
      response.setHeader("Set-Cookie", `${SESSION_COOKIE}=${reply.opened.cookie}; Path=/; HttpOnly; Secure;`);
    }
    response.setHeader("Cache-Control", "no-cache");
    send(response, reply.status, XML, reply.body);
  }
}

function versionsXml(): string {
  const [newest, ...prior] = API_VERSIONS;
  const versions = prior.map((version) => `   <version>${version}</version>`).join("\n");
  return `<?xml version="1.0" encoding="UTF-8" ?>
<namespaces version="1.0">
 <namespace>
  <name>urn:vim25</name>
  <version>${newest}</version>
  <priorVersions>
${versions}
  </priorVersions>
 </namespace>
</namespaces>
`;
}
