import type { Happening, HealthCall, HostPort, Right, ServerHealth, StorageRoom } from "../health.js";
import type { CallOptions } from "../hypervisor.js";
import { needVm } from "./inventory.js";
import { rightsOfSession } from "./permissions.js";
import { freeBytes, isThin, type SnapshotSupport, whyNoSnapshot } from "./storage.js";
import { loadDisks } from "./vm-disks.js";
import { XapiFault } from "./xapi/fault.js";
import { translating } from "./xapi/fault-errors.js";
import { date, integer, list, map, text, toText } from "./xapi/fields.js";
import { recordsOf, toRecords } from "./xapi/pool-facts.js";
import { isRecord, type XapiRecord } from "./xapi/value.js";
import type { Xapi } from "./xapi/xapi.js";

/** A VM has at most 255 disks; that many are asked where they are served. */
const DISKS_MAX = 255;
/** What went wrong with a backup was told within the last days. */
const SINCE_MS = 7 * 86_400_000;

export interface XenHealthParts {
  readonly xapi: Xapi;
  /** TCP port of the API on every host. */
  readonly port: number;
  readonly chainMax: number;
  readonly support: (options: CallOptions) => Promise<SnapshotSupport>;
}

/** What a pool tells of itself. */
export class XenHealth implements ServerHealth {
  readonly chainMax: number;
  readonly #xapi: Xapi;
  readonly #port: number;
  readonly #support: XenHealthParts["support"];

  constructor({ xapi, port, chainMax, support }: XenHealthParts) {
    this.chainMax = chainMax;
    this.#xapi = xapi;
    this.#port = port;
    this.#support = support;
  }

  clock({ signal }: HealthCall): Promise<Date> {
    return translating("Cannot ask for the server's time", async () => {
      const [master] = await this.#xapi.hosts({ signal });
      const time = toText(await this.#xapi.call("host.get_servertime", [master?.ref ?? ""], { signal }), "a time");
      return date({ time }, "time");
    });
  }

  /** A session's permissions hold for the whole pool. */
  rights(vm: string | undefined, { signal }: HealthCall): Promise<readonly Right[]> {
    return translating("Cannot ask for permissions", async () => {
      if (vm !== undefined) await needVm(vm, this.#xapi, { signal });
      return await rightsOfSession(this.#xapi, { signal });
    });
  }

  /** The API of every host, which gives disks over http; and where the VM's disks are served over NBD. */
  ports(vm: string | undefined, { signal }: HealthCall): Promise<readonly HostPort[]> {
    return translating("Cannot ask for the hosts of the pool", async () => {
      const hosts = await this.#xapi.hosts({ signal });
      const found: HostPort[] = hosts.map(({ name, address }) => {
        return { host: name, address, port: this.#port, transports: ["http"] };
      });
      if (vm === undefined) return found;
      for (const place of await this.#nbdPlaces(vm, signal)) {
        if (!found.some(({ address, port }) => address === place.address && port === place.port)) found.push(place);
      }
      return found;
    });
  }

  storages(vm: string, { signal }: HealthCall): Promise<readonly StorageRoom[]> {
    return translating("Cannot ask for the storage of the VM", async () => {
      const { record } = await needVm(vm, this.#xapi, { signal });
      const [disks, support] = await Promise.all([
        loadDisks(record, this.#xapi, { signal }),
        this.#support({ signal }),
      ]);
      const rooms = new Map<string, { readonly sr: XapiRecord; snapshotBytes: number }>();
      for (const { srRef, sr, vdi } of disks) {
        const room = rooms.get(srRef) ?? { sr, snapshotBytes: 0 };
        // On block devices a snapshot sets the whole disk aside.
        const isSetAside = isThin(sr) === false && whyNoSnapshot(vdi, sr, support) === undefined;
        if (isSetAside) room.snapshotBytes += integer(vdi, "virtual_size") ?? 0;
        rooms.set(srRef, room);
      }
      return [...rooms.values()].map(({ sr, snapshotBytes }) => ({
        name: `storage repository "${text(sr, "name_label")}"`,
        type: text(sr, "type"),
        freeBytes: freeBytes(sr),
        totalBytes: integer(sr, "physical_size"),
        snapshotBytes,
      }));
    });
  }

  /** Messages of the VM, and the tasks that the pool still knows: a task does not say what it is about. */
  happenings(vm: string, { signal, max }: HealthCall & { readonly max: number }): Promise<readonly Happening[]> {
    return translating("Cannot ask for tasks and messages", async () => {
      const { record } = await needVm(vm, this.#xapi, { signal });
      const since = new Date(Date.now() - SINCE_MS).toISOString().replace(/\.\d+/, "").replaceAll("-", "");
      const args = ["VM", text(record, "uuid"), since];
      const messages = toRecords(await this.#xapi.call("message.get", args, { signal }), "message");
      const tasks = await recordsOf(this.#xapi.call.bind(this.#xapi), "task", { signal });
      const all = [...[...messages.values()].map(fromMessage), ...[...tasks.values()].map(fromTask)];
      return all.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0)).slice(-max);
    });
  }

  /** Empty where no network is meant for NBD, and for an account that may not ask: its missing permission is told of. */
  async #nbdPlaces(vm: string, signal: AbortSignal): Promise<HostPort[]> {
    const { record } = await needVm(vm, this.#xapi, { signal });
    const disks = (await loadDisks(record, this.#xapi, { signal })).slice(0, DISKS_MAX);
    const answers = await Promise.all(
      disks.map(({ vdiRef }) =>
        this.#xapi.call("VDI.get_nbd_info", [vdiRef], { signal }).catch((error: unknown) => {
          if (error instanceof XapiFault && error.is("RBAC_PERMISSION_DENIED", "MESSAGE_METHOD_UNKNOWN")) return [];
          throw error;
        }),
      ),
    );
    const places = answers.flatMap((infos) => (Array.isArray(infos) ? (infos as readonly unknown[]) : []));
    return places.flatMap((info) => toPort(info as XapiRecord));
  }
}

function toPort(info: XapiRecord): HostPort[] {
  if (!isRecord(info)) return [];
  const port = Number(text(info, "port"));
  const isPort = Number.isInteger(port) && port > 0 && port < 65_536;
  return isPort ? [{ host: text(info, "subject"), address: text(info, "address"), port, transports: ["nbd"] }] : [];
}

function fromMessage(message: XapiRecord): Happening {
  const words = [text(message, "name"), text(message, "body")];
  return { kind: "event", time: date(message, "timestamp").toISOString(), text: shown(words) };
}

function fromTask(task: XapiRecord): Happening {
  const reason = list(task, "error_info").join(" ");
  const about = map(task, "other_config").get("applies_to") ?? "";
  const words = [text(task, "name_label"), text(task, "status"), about, reason];
  return { kind: "task", time: date(task, "created").toISOString(), text: shown(words) };
}

function shown(words: readonly string[]): string {
  return words.filter((word) => word !== "").join(", ");
}
