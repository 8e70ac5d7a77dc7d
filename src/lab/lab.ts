import { createServer, type Server } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { stat } from "node:fs/promises";
import { hostname } from "node:os";
import { BusyError, NotFoundError } from "../errors.js";
import type { Logger } from "../log.js";
import { ControlEndpoint } from "./control-endpoint.js";
import { sendPage } from "./http-request.js";
import { readLabConfig } from "./lab-config.js";
import { LabVm, type Moment } from "./lab-vm.js";
import { Rules } from "./rules.js";
import { labCertificate, labPassword, type LabCertificate } from "./tls.js";
import type { Traffic } from "./traffic.js";
import { DatastoreEndpoint } from "./vcenter/datastore-endpoint.js";
import { SdkEndpoint } from "./vcenter/sdk-endpoint.js";
import { Privileges } from "./vcenter/privileges.js";
import { VCenter } from "./vcenter/vcenter.js";
import { World } from "./world.js";

export interface LabOptions {
  /** A folder of datastores of machine folders; `initLab` makes one. */
  readonly directory: string;
  /** Port 0 takes a free one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** Further users with their passwords. */
  readonly users?: ReadonlyMap<string, string> | undefined;
  readonly logger: Logger;
}

/** The user that every lab has, named like vCenter's own. */
const LAB_USER = "administrator@vsphere.local";

/** A running stand-in vCenter with real disk images behind it. */
export class Lab implements AsyncDisposable {
  readonly url: string;
  /** SHA-256 of the certificate, upper-case hex pairs with colons. */
  readonly fingerprint: string;
  /** PEM file by which a client can trust the lab. */
  readonly certificatePath: string;
  readonly user = LAB_USER;
  readonly password: string;
  readonly passwordPath: string;
  readonly rules: Rules;
  readonly traffic: Traffic;
  readonly vms: readonly LabVm[];
  readonly #vcenter: VCenter;
  readonly #server: Server;

  constructor(parts: {
    readonly url: string;
    readonly tls: LabCertificate;
    readonly password: string;
    readonly passwordPath: string;
    readonly vcenter: VCenter;
    readonly vms: readonly LabVm[];
    readonly server: Server;
  }) {
    this.url = parts.url;
    this.fingerprint = parts.tls.fingerprint;
    this.certificatePath = parts.tls.path;
    this.password = parts.password;
    this.passwordPath = parts.passwordPath;
    this.rules = parts.vcenter.rules;
    this.traffic = parts.vcenter.traffic;
    this.vms = parts.vms;
    this.#vcenter = parts.vcenter;
    this.#server = parts.server;
  }

  /** A machine by display name or reference. @throws NotFoundError */
  vm(name: string): LabVm {
    const found = this.vms.find((vm) => vm.name === name || vm.ref === name);
    if (found === undefined) throw new NotFoundError(`Cannot find "${name}" in the lab`);
    return found;
  }

  /** Tasks that have not ended. */
  get runningTasks(): number {
    return this.#vcenter.tasks.running;
  }

  /** SHA-256 of a disk at a moment, in hex. */
  hashDisk(vm: string, diskKey: number, when: Moment): Promise<string> {
    return this.vm(vm).hashDisk(diskKey, when);
  }

  /** Ends every session, as a restart of the service does. */
  expireSessions(): void {
    this.#vcenter.sessions.endAll();
  }

  /** Tells the cookies of all sessions, without quotes: now, and whenever one has begun or ended, before anybody hears of it. */
  watchSessions(onChange: (cookies: readonly string[]) => void): void {
    const { sessions } = this.#vcenter;
    const tell = (): void => {
      onChange(sessions.list().map(({ cookie }) => cookie.replaceAll('"', "")));
    };
    sessions.onBegin(tell);
    sessions.onEnd(tell);
    tell();
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    for (const vm of this.vms) await vm.guest.stopAll();
    await this.#vcenter.tasks.close();
    await this.#vcenter.world.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

export async function startLab({ directory, listen, users, logger }: LabOptions): Promise<Lab> {
  await mustExist(directory);
  const tls = await labCertificate(directory);
  const { password, path: passwordPath } = await labPassword(directory);
  const world = await World.open(directory, logger);
  const rules = new Rules();
  const config = await readLabConfig(directory);
  const configured = Object.entries(config.users).map(([name, user]) => [name, user.password] as const);
  const logins = new Map([...(users ?? []), ...configured, [LAB_USER, password]]);
  const privileges = new Privileges(config);
  const hostName = config.host ?? hostname();
  const vcenter = new VCenter({ world, kind: config.server, rules, users: logins, privileges, hostName, logger });
  const vms = world.machines.map((machine) => new LabVm(machine));
  const server = createServer({ key: tls.key, cert: tls.certificate }, requestHandler(vcenter, vms, logger));
  try {
    await listening(server, listen);
  } catch (error) {
    await world.close();
    throw new BusyError(`Cannot serve the lab on ${listen.host}:${listen.port}: ${String(error)}`, { cause: error });
  }
  const { port } = server.address() as AddressInfo;
  const host = listen.host.includes(":") ? `[${listen.host}]` : listen.host;
  return new Lab({ url: `https://${host}:${port}`, tls, password, passwordPath, vcenter, vms, server });
}

/** A mistyped folder must not become an empty lab. */
async function mustExist(directory: string): Promise<void> {
  const isThere = await stat(directory).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (isThere) return;
  throw new NotFoundError(`Cannot serve a lab from ${directory}: there is no such folder`, {
    hint: `Make one with "vmmount lab init ${directory}"`,
  });
}

function listening(server: Server, { host, port }: LabOptions["listen"]): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}

function requestHandler(vcenter: VCenter, vms: readonly LabVm[], logger: Logger) {
  const sdk = new SdkEndpoint(vcenter, logger);
  const folder = new DatastoreEndpoint(vcenter);
  const control = new ControlEndpoint(vms, vcenter.rules, vcenter.traffic);
  const route = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = request.url ?? "/";
    const path = url.replace(/\?.*/s, "");
    if (path.startsWith("/lab/")) return control.handle(request, response, path);
    vcenter.traffic.begin();
    response.once("close", () => {
      vcenter.traffic.end(response.headersSent ? response.statusCode : 0);
    });
    if (path === "/sdk" || path.startsWith("/sdk/")) return sdk.handle(request, response, path);
    if (path === "/folder" || path.startsWith("/folder/")) return folder.handle(request, response, url);
    sendPage(response, 404, "Not found");
  };
  return (request: IncomingMessage, response: ServerResponse): void => {
    route(request, response).catch((error: unknown) => {
      // A client that leaves while it sends is its own affair.
      if (!response.destroyed) logger.error("The lab failed to answer a request", { error: String(error) });
      response.destroy();
    });
  };
}
