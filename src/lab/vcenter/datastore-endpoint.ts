import { open, readdir, realpath, stat } from "node:fs/promises";
import type { IncomingMessage, ServerResponse } from "node:http";
import { join, sep } from "node:path";
import { clientGone, send, sendPage } from "../http-request.js";
import { mayAnswer, misbehave } from "../misbehave.js";
import { sendFile } from "./file-transfer.js";
import { parseFolderUrl, type FolderUrl } from "./folder-url.js";
import { SESSION_COOKIE } from "./sessions.js";
import type { VCenter } from "./vcenter.js";
import { escapeXml } from "./xml.js";

const FILE_PRIVILEGES = ["Datastore.Browse", "Datastore.FileManagement"];

/** `/folder`: datastore files by GET and HEAD, for the SOAP session's cookie or by Basic authentication. */
export class DatastoreEndpoint {
  readonly #server: VCenter;

  constructor(server: VCenter) {
    this.#server = server;
  }

  async handle(request: IncomingMessage, response: ServerResponse, rawUrl: string): Promise<void> {
    const signal = clientGone(response);
    const url = parseFolderUrl(
      rawUrl,
      (name) => this.#isDatacenter(name),
      (name) => this.#datastoreFolder(name),
    );
    const actions = this.#server.rules.actionsFor({
      method: request.method ?? "",
      path: rawUrl.replace(/\?.*/s, ""),
      objects: this.#wordsFor(url),
    });
    const expireSessions = (): void => {
      this.#server.sessions.endAll();
    };
    const { holds } = this.#server.rules;
    if (!(await misbehave({ response, actions, signal, holds, expireSessions }))) return;
    const user = this.#userOf(request, response);
    if (user === undefined) {
      response.setHeader("WWW-Authenticate", `Basic realm="VMware HTTP server"`);
      sendPage(response, 401, "Unauthorized");
      return;
    }
    if (!FILE_PRIVILEGES.every((name) => this.#server.privileges.has(user, name))) {
      sendPage(response, 403, "Forbidden");
      return;
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      sendPage(response, 405, "Method not allowed");
      return;
    }
    if (!(await mayAnswer({ response, actions, signal, holds }))) return;
    if (url.kind === "missing") sendPage(response, 404, "Not found");
    else if (url.kind === "datacenters") sendList(response, "datacenters", [this.#server.tree.datacenter.name]);
    else if (url.kind === "datastores") sendList(response, "datastores", this.#server.world.datastores);
    else await this.#sendPath({ request, response, signal, actions, url });
  }

  async #sendPath(
    transfer: Omit<Parameters<typeof sendFile>[0], "path" | "file" | "traffic" | "label"> & { url: FolderUrl },
  ) {
    const { request, response, url } = transfer;
    if (url.kind !== "path") return;
    const root = join(this.#server.world.directory, url.datastore);
    const path = await realpath(join(root, ...url.segments)).catch(() => undefined);
    // A link that leads out of the datastore is as absent as a missing file.
    if (path === undefined || (path !== root && !path.startsWith(root + sep))) {
      sendPage(response, 404, "Not found");
      return;
    }
    if ((await stat(path)).isDirectory()) {
      const entries = await readdir(path, { withFileTypes: true });
      const names = entries.map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name)).sort();
      sendList(response, url.segments.join("/"), names);
      return;
    }
    const label = `[${url.datastore}] ${url.segments.join("/")}`;
    this.#server.traffic.fileRequest(label);
    if (request.method === "GET" && this.#isLocked(path)) {
      sendPage(response, 500, "Failed to lock the file");
      return;
    }
    await using file = await open(path, "r");
    await sendFile({ ...transfer, file, label, traffic: this.#server.traffic });
  }

  #isLocked(path: string): boolean {
    return this.#server.world.machines.some((machine) => machine.lockedFiles().has(path));
  }

  /** @returns undefined for nobody */
  #userOf(request: IncomingMessage, response: ServerResponse): string | undefined {
    const { sessions } = this.#server;
    const known = sessions.find(request.headers.cookie);
    if (known !== undefined) return known.user;
    const basic = /^Basic ([A-Za-z0-9+/=]+)$/.exec(request.headers.authorization ?? "")?.[1];
    if (basic === undefined) return undefined;
    const [user = "", ...rest] = Buffer.from(basic, "base64").toString("utf8").split(":");
    if (sessions.isFull || !sessions.isPassword(user, rest.join(":"))) return undefined;
    const client = { address: request.socket.remoteAddress ?? "", userAgent: request.headers["user-agent"] ?? "" };
    const session = sessions.login(user, rest.join(":"), client);
    response.setHeader("Set-Cookie", `${SESSION_COOKIE}=${session.cookie}; Path=/; HttpOnly; Secure;`);
    return user;
  }

  #isDatacenter(name: string): boolean {
    return name.replace(/^\//, "") === this.#server.tree.datacenter.name;
  }

  /** The folder of a datastore by its stored name. */
  #datastoreFolder(name: string): string | undefined {
    return this.#server.world.datastores.find((folder) => this.#server.tree.datastore(folder)?.name === name);
  }

  #wordsFor(url: FolderUrl): string[] {
    if (url.kind !== "path") return [];
    const [folder] = url.segments;
    const machine = this.#server.world.machines.find(
      (one) => one.datastore === url.datastore && one.folderName === folder,
    );
    return machine === undefined ? [] : [machine.ref, machine.name, machine.folderName];
  }
}

function sendList(response: ServerResponse, title: string, names: readonly string[]): void {
  const rows = names.map(
    (name) =>
      `<tr><td><a href="${escapeXml(encodeURIComponent(name).replace("%2F", "/"))}">${escapeXml(name)}</a></td></tr>`,
  );
  const heading = `Index of ${escapeXml(title)}`;
  send(
    response,
    200,
    "text/html; charset=utf-8",
    `<html><head><title>${heading}</title></head><body><h1>${heading}</h1><table>\n${rows.join("\n")}\n</table></body></html>\n`,
  );
}
