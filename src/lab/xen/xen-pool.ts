import { randomUUID, X509Certificate } from "node:crypto";
import { join, resolve } from "node:path";
import pLimit from "p-limit";
import type { Logger } from "../../log.js";
import { stateFolder } from "../lab-state.js";
import { Rules, type RuleAction } from "../rules.js";
import { keptCertificate, type LabCertificate } from "../tls.js";
import { Traffic } from "../traffic.js";
import { Attachments } from "./attachments.js";
import { computeFields, machineOf } from "./computed.js";
import { Database } from "./database/database.js";
import { loadRows, saveRows } from "./database/saved.js";
import { createFirstRows } from "./first-rows.js";
import { readPoolConfig, type PoolConfig } from "./pool-config.js";
import type { PoolHost } from "./pool-host.js";
import { readPoolState, writePoolState } from "./pool-state.js";
import { profileOf, type Profile, type ProfileName } from "./profile.js";
import { PoolSessions, type PoolUser } from "./sessions.js";
import { PoolTasks } from "./tasks.js";
import { NULL_REF, textOf, type Value } from "./value.js";
import { VdiStore } from "./vdi-store.js";

/** As XAPI's inactive_session_timeout. */
const SESSION_IDLE_MS = 24 * 3600_000;

export interface XenPoolOptions {
  readonly directory: string;
  /** Absent: the one that pool.json names. */
  readonly profile?: ProfileName | undefined;
  readonly users: ReadonlyMap<string, PoolUser>;
  /** Address of the first host; the others count up from it. */
  readonly address: string;
  readonly logger: Logger;
}

/** The state behind every protocol of the pool: database, disks, sessions, tasks. */
export class XenPool {
  readonly config: PoolConfig;
  readonly profile: Profile;
  readonly database: Database;
  readonly store: VdiStore;
  readonly sessions: PoolSessions;
  readonly tasks: PoolTasks;
  readonly attachments: Attachments;
  readonly rules = new Rules();
  readonly traffic: Traffic;
  readonly hosts: readonly PoolHost[];
  readonly logger: Logger;
  readonly #directory: string;
  readonly #saving = pLimit(1);
  #saved = 0;

  private constructor(options: XenPoolOptions, config: PoolConfig, database: Database, hosts: readonly PoolHost[]) {
    this.#directory = options.directory;
    this.logger = options.logger;
    this.config = config;
    this.profile = database.profile;
    this.database = database;
    this.hosts = hosts;
    this.rules.configure({ sessionIdleMs: SESSION_IDLE_MS });
    const folders = new Map(config.storage.map(({ uuid, folder }) => [uuid, folder]));
    this.store = new VdiStore(resolve(options.directory), database, folders);
    this.sessions = new PoolSessions(database, options.users, () => this.rules.settings.sessionIdleMs);
    this.tasks = new PoolTasks(database);
    this.attachments = new Attachments(database, () => this.rules.settings.detachMs);
    this.traffic = new Traffic(() => this.sessions.size);
    computeFields(database, this.store);
  }

  static async open(options: XenPoolOptions): Promise<XenPool> {
    const { directory } = options;
    const config = await readPoolConfig(directory);
    const database = new Database(profileOf(options.profile ?? config.profile));
    const saved = await readPoolState(directory);
    if (saved === undefined) createFirstRows(database, config);
    else loadRows(database, saved);
    const pool = new XenPool(options, config, database, await openHosts(database, config, options));
    pool.#forgetPlugs();
    await pool.save();
    return pool;
  }

  get poolRef(): string {
    return this.database.refs("pool")[0] ?? NULL_REF;
  }

  get master(): PoolHost {
    const ref = this.database.text("pool", this.poolRef, "master");
    return this.#host((host) => host.ref === ref);
  }

  host(ref: string): PoolHost {
    return this.#host((host) => host.ref === ref);
  }

  /** What rules want of a call; counts it against them. @param refs the objects that it names */
  actions(method: string, path: string, refs: readonly string[]): RuleAction[] {
    return this.rules.actionsFor({ method, path, objects: refs.flatMap((ref) => this.#wordsFor(ref)) });
  }

  /** Display name of the VM that an object is or belongs to, for counters. */
  machineName(refs: readonly string[]): string | undefined {
    for (const ref of refs) {
      const vm = machineOf(this.database, ref);
      if (vm !== undefined && this.database.has("VM", vm)) return this.database.text("VM", vm, "name_label");
    }
    return undefined;
  }

  /** Writes what has changed into the folder: a pool that is killed afterwards still has it. */
  save(): Promise<void> {
    return this.#saving(async () => {
      const generation = this.database.persistentGeneration;
      if (generation === this.#saved) return;
      await writePoolState(this.#directory, saveRows(this.database));
      this.#saved = generation;
    });
  }

  async close(): Promise<void> {
    this.attachments.close();
    await this.tasks.close();
    await this.save();
  }

  #host(isWanted: (host: PoolHost) => boolean): PoolHost {
    const found = this.hosts.find(isWanted);
    if (found === undefined) throw new RangeError("The lab's pool has no such host");
    return found;
  }

  #wordsFor(ref: string): string[] {
    const vm = machineOf(this.database, ref);
    const named = [ref, ...(vm === undefined || vm === ref ? [] : [vm])];
    return named.flatMap((one) => [one, ...this.#names(one)]);
  }

  #names(ref: string): string[] {
    for (const className of ["VM", "VDI", "SR", "host", "VBD", "network"]) {
      if (!this.database.has(className, ref)) continue;
      const row = this.database.row(className, ref);
      return [textOf(row["uuid"]), textOf(row["name_label"])];
    }
    return [];
  }

  /** Of a pool that was killed while a host read disks; a real host cleans up when it starts, too. */
  #forgetPlugs(): void {
    const domains = new Set(this.hosts.map(({ controlDomain }) => controlDomain));
    for (const [vbd, row] of this.database.rows("VBD")) {
      if (domains.has(textOf(row["VM"]))) this.database.delete("VBD", vbd);
    }
    for (const className of ["VM", "VDI", "VBD"]) {
      for (const ref of this.database.refs(className)) this.database.update(className, ref, { current_operations: {} });
    }
  }
}

async function openHosts(
  database: Database,
  config: PoolConfig,
  { directory, address }: XenPoolOptions,
): Promise<PoolHost[]> {
  const hosts: PoolHost[] = [];
  for (const [index, { uuid, name }] of config.hosts.entries()) {
    const ref = database.byUuid("host", uuid);
    const own = addressAfter(address, index);
    const dnsName = `${name}.lab.example`;
    const tls = await keptCertificate(join(stateFolder(directory), "tls", `${name}-${own.replaceAll(":", "_")}`), {
      commonName: dnsName,
      alternatives: [`IP:${own}`, `DNS:${dnsName}`, ...(index === 0 ? ["DNS:localhost"] : [])],
    });
    const controlDomain = database.text("host", ref, "control_domain");
    hosts.push({ index, ref, uuid, address: own, dnsName, tls, controlDomain, isRunning: false, nbdPort: undefined });
    const [major, minor] = database.profile.apiVersion;
    const changes: Record<string, Value> = {
      address: own,
      software_version: { ...database.profile.softwareVersion, hostname: name },
      API_version_major: major,
      API_version_minor: minor,
    };
    database.update("host", ref, changes);
    keepCertificate(database, ref, tls);
    for (const pif of database.where("PIF", "host", ref)) database.update("PIF", pif, { IP: own });
  }
  return hosts;
}

/** The host's certificate as an object, as releases since 8.2 have it. */
function keepCertificate(database: Database, host: string, { certificate, fingerprint }: LabCertificate): void {
  const known = database.where("Certificate", "host", host);
  if (known.some((ref) => database.text("Certificate", ref, "fingerprint") === fingerprint)) return;
  for (const ref of known) database.delete("Certificate", ref);
  const { validFrom, validTo, fingerprint: sha1 } = new X509Certificate(certificate);
  database.create("Certificate", {
    uuid: randomUUID(),
    host,
    not_before: new Date(validFrom),
    not_after: new Date(validTo),
    fingerprint,
    fingerprint_sha256: fingerprint,
    fingerprint_sha1: sha1,
  });
}

/** 127.0.0.1, 127.0.0.2 … */
function addressAfter(first: string, index: number): string {
  return first.replace(/\d+$/, (last) => String(Number(last) + index));
}
