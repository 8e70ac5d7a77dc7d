import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { BusyError, NotFoundError, VmmountError } from "../../errors.js";
import type { Logger } from "../../log.js";
import { stateFolder } from "../lab-state.js";
import type { Rules } from "../rules.js";
import { labPassword } from "../tls.js";
import type { Traffic } from "../traffic.js";
import { HostServer } from "./host-server.js";
import { LabPoolVm } from "./lab-pool-vm.js";
import { PoolControl } from "./pool-control.js";
import type { PoolHost } from "./pool-host.js";
import type { ProfileName } from "./profile.js";
import type { PoolUser } from "./sessions.js";
import { XenPool } from "./xen-pool.js";

export interface LabPoolOptions {
  /** A folder with a pool.json; `initLabPool` makes one. */
  readonly directory: string;
  /** The release to show; absent: the one that pool.json names. */
  readonly profile?: ProfileName | undefined;
  /** Address of the first host; the second has the next one and the same port. Port 0 takes a free one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** Further users. */
  readonly users?: ReadonlyMap<string, PoolUser> | undefined;
  readonly logger: Logger;
}

const LAB_USER = "root";
/** Another address may have the port that was free on the first. */
const PORT_TRIES = 20;

/** A running stand-in pool of Xen hosts with real disk images behind it. */
export class LabPool implements AsyncDisposable {
  readonly user = LAB_USER;
  readonly password: string;
  readonly passwordPath: string;
  /** PEM file with the certificate of every host. */
  readonly certificatePath: string;
  readonly port: number;
  /** The state behind the protocols, for tests that look past them. */
  readonly pool: XenPool;
  readonly #servers: readonly HostServer[];
  readonly #vms = new Map<string, LabPoolVm>();

  constructor(parts: {
    readonly pool: XenPool;
    readonly servers: readonly HostServer[];
    readonly port: number;
    readonly password: string;
    readonly passwordPath: string;
    readonly certificatePath: string;
  }) {
    this.pool = parts.pool;
    this.#servers = parts.servers;
    this.port = parts.port;
    this.password = parts.password;
    this.passwordPath = parts.passwordPath;
    this.certificatePath = parts.certificatePath;
  }

  /** Of the master. */
  get url(): string {
    return this.urlOf(this.pool.master.index);
  }

  /** SHA-256 of the master's certificate, upper-case hex pairs with colons. */
  get fingerprint(): string {
    return this.pool.master.tls.fingerprint;
  }

  get hosts(): readonly PoolHost[] {
    return this.pool.hosts;
  }

  get rules(): Rules {
    return this.pool.rules;
  }

  get traffic(): Traffic {
    return this.pool.traffic;
  }

  /** Machines as a client lists them: no templates, snapshots and control domains. */
  get vms(): readonly LabPoolVm[] {
    const { database } = this.pool;
    return database
      .rows("VM")
      .filter(([, row]) =>
        ["is_a_template", "is_a_snapshot", "is_control_domain"].every((field) => row[field] !== true),
      )
      .map(([ref]) => this.#vm(ref));
  }

  urlOf(hostIndex: number): string {
    const address = this.hosts[hostIndex]?.address ?? "";
    return `xen://${address.includes(":") ? `[${address}]` : address}:${this.port}`;
  }

  /** A machine by name, uuid or reference. @throws NotFoundError */
  vm(name: string): LabPoolVm {
    const found = this.vms.find((vm) => [vm.name, vm.uuid, vm.ref].includes(name));
    if (found === undefined) throw new NotFoundError(`Cannot find "${name}" in the lab's pool`);
    return found;
  }

  /** Makes another host the master, as after a fail-over. */
  async moveMaster(index: number): Promise<void> {
    const host = this.#server(index).host;
    this.pool.database.update("pool", this.pool.poolRef, { master: host.ref });
    await this.pool.save();
  }

  /** Ends a host's servers and connections, as when it loses power. */
  async stopHost(index: number): Promise<void> {
    await this.#server(index).stop();
  }

  async startHost(index: number): Promise<void> {
    await this.#server(index).start(this.port);
  }

  /** Ends every session, as a restart of the tool stack does. */
  expireSessions(): void {
    this.pool.sessions.endAll();
  }

  /** Objects of every class in the pool's database; messages are no part of it. */
  counts(): Record<string, number> {
    return Object.fromEntries(Object.entries(this.pool.database.counts()).filter(([name]) => name !== "message"));
  }

  /** SHA-256 of a disk's bytes, in hex. @param vdi uuid or reference */
  hashVdi(vdi: string): Promise<string> {
    const { database, store } = this.pool;
    return store.hash(database.has("VDI", vdi) ? vdi : database.byUuid("VDI", vdi));
  }

  async close(): Promise<void> {
    for (const vm of this.#vms.values()) await vm.guest.stopAll();
    for (const server of this.#servers) await server.stop();
    await this.pool.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #vm(ref: string): LabPoolVm {
    const vm = this.#vms.get(ref) ?? new LabPoolVm(this.pool, ref);
    this.#vms.set(ref, vm);
    return vm;
  }

  #server(index: number): HostServer {
    const server = this.#servers[index];
    if (server === undefined) throw new NotFoundError(`Cannot find host ${index} in the lab's pool`);
    return server;
  }
}

/** @throws NotFoundError, ConfigError for the folder; BusyError when the port is taken */
export async function startLabPool(options: LabPoolOptions): Promise<LabPool> {
  const { listen, users, profile, logger } = options;
  const directory = resolve(options.directory);
  const { password, path: passwordPath } = await labPassword(directory);
  const logins = new Map<string, PoolUser>([...(users ?? []), [LAB_USER, { password, role: "pool-admin" }]]);
  const pool = await XenPool.open({ directory, profile, users: logins, address: listen.host, logger });
  const certificatePath = await writeCertificates(directory, pool.hosts);
  const control = new PoolControl(() => lab);
  const servers = pool.hosts.map((host) => {
    return new HostServer(pool, host, (request, response, path) => control.handle(request, response, path));
  });
  // Nothing reaches the controls before the servers run.
  let lab: LabPool;
  try {
    const port = await startAll(servers, listen.port);
    lab = new LabPool({ pool, servers, port, password, passwordPath, certificatePath });
    return lab;
  } catch (error) {
    await pool.close();
    if (error instanceof VmmountError) throw error;
    throw new BusyError(`Cannot serve the pool on ${listen.host}:${listen.port}: ${String(error)}`, { cause: error });
  }
}

/** Every host on the same port. */
async function startAll(servers: readonly HostServer[], wanted: number): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    let port = wanted;
    try {
      for (const server of servers) port = await server.start(port);
      return port;
    } catch (error) {
      for (const server of servers) await server.stop();
      if (wanted !== 0 || attempt >= PORT_TRIES) throw error;
    }
  }
}

async function writeCertificates(directory: string, hosts: readonly PoolHost[]): Promise<string> {
  const folder = join(stateFolder(directory), "tls");
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, "pool.pem");
  await writeFile(path, hosts.map(({ tls }) => tls.certificate).join(""), { mode: 0o600 });
  return path;
}
