import { AmbiguousError, NotFoundError, RefusedError, VmmountError } from "../../errors.js";
import type { CallOptions } from "../../hypervisor.js";
import { GIB } from "../../units.js";
import { freeBytes, isThin } from "../storage.js";
import { isSet, list, reference, text } from "../xapi/fields.js";
import { recordsOf } from "../xapi/pool-facts.js";
import type { XapiRecord } from "../xapi/value.js";
import type { Xapi, XenHost } from "../xapi/xapi.js";

/** A longer list is no help in choosing. */
const SHOWN_MAX = 12;

export interface StorageChoice {
  readonly ref: string;
  readonly uuid: string;
  readonly name: string;
  /** That sees it, so that it takes the bytes itself. */
  readonly host: XenHost;
}

/** What will be written. */
export interface StorageNeed {
  /** All disks at full size, as far as it is known: what thick storage sets aside. */
  readonly virtualBytes: number | undefined;
  /** What is sent: about what thin storage will hold. */
  readonly dataBytes: number;
}

interface Repository {
  readonly ref: string;
  readonly record: XapiRecord;
  readonly host: XenHost | undefined;
}

/**
 * The storage repository for the disks of an import: the one that is named, or the pool's default. Everything that would
 * make the import fail in its last minute is found before its first byte.
 * @throws NotFoundError, AmbiguousError, RefusedError, VmmountError "space"; each lists what could be taken
 */
export async function chooseStorage(
  wanted: string | undefined,
  need: StorageNeed,
  xapi: Pick<Xapi, "call" | "hosts">,
  options: CallOptions,
): Promise<StorageChoice> {
  const all = await loadRepositories(xapi, options);
  const usable = all.filter((one) => whyNot(one) === undefined);
  const hint = describeAll(usable);
  const chosen = wanted === undefined ? await defaultOf(all, hint, xapi, options) : named(all, wanted, hint);
  const shown = `storage repository "${text(chosen.record, "name_label")}"`;
  const obstacle = whyNot(chosen);
  if (obstacle !== undefined || chosen.host === undefined) {
    throw new RefusedError(`Cannot import into ${shown}: ${obstacle ?? "no running host sees it"}`, { hint });
  }
  refuseFull(chosen.record, need, { shown, hint });
  const { ref, record, host } = chosen;
  return { ref, uuid: text(record, "uuid"), name: text(record, "name_label"), host };
}

async function loadRepositories(xapi: Pick<Xapi, "call" | "hosts">, options: CallOptions): Promise<Repository[]> {
  const call = xapi.call.bind(xapi);
  const [records, pbds, hosts] = await Promise.all([
    recordsOf(call, "SR", options),
    recordsOf(call, "PBD", options),
    xapi.hosts(options),
  ]);
  const attached = [...pbds.values()].filter((pbd) => isSet(pbd, "currently_attached"));
  return [...records].map(([ref, record]) => {
    const seeing = new Set(attached.filter((pbd) => reference(pbd, "SR") === ref).map((pbd) => text(pbd, "host")));
    return { ref, record, host: hosts.find((host) => host.isLive && seeing.has(host.ref)) };
  });
}

/** Undefined = a disk can be made there. */
function whyNot({ record, host }: Repository): string | undefined {
  if (text(record, "content_type") === "iso" || text(record, "type") === "iso") return "it is a library of ISO images";
  if (host === undefined) return "no running host sees it";
  if (!list(record, "allowed_operations").includes("vdi_create")) return "no disk can be made there";
  return undefined;
}

async function defaultOf(
  all: readonly Repository[],
  hint: string,
  xapi: Pick<Xapi, "call">,
  options: CallOptions,
): Promise<Repository> {
  const [pool] = (await recordsOf(xapi.call.bind(xapi), "pool", options)).values();
  const ref = pool === undefined ? undefined : reference(pool, "default_SR");
  const found = all.find((one) => one.ref === ref);
  if (found !== undefined) return found;
  // A reference may outlive its repository.
  throw new NotFoundError("Cannot choose a storage repository: the pool has no default one", {
    hint: `Give --sr. ${hint}`,
  });
}

function named(all: readonly Repository[], wanted: string, hint: string): Repository {
  const found = all.filter(({ record }) => text(record, "uuid") === wanted || text(record, "name_label") === wanted);
  const [first, ...others] = found;
  if (first === undefined) throw new NotFoundError(`Cannot find storage repository "${wanted}"`, { hint });
  if (others.length === 0) return first;
  throw new AmbiguousError(`Cannot choose: ${found.length} storage repositories are named "${wanted}"`, {
    hint: `Give its UUID. ${describeAll(found)}`,
  });
}

function refuseFull(
  record: XapiRecord,
  { virtualBytes, dataBytes }: StorageNeed,
  { shown, hint }: { readonly shown: string; readonly hint: string },
): void {
  const free = freeBytes(record);
  const needed = isThin(record) === false ? (virtualBytes ?? dataBytes) : dataBytes;
  if (free === undefined || free >= needed) return;
  throw new VmmountError(`Cannot import into ${shown}: ${gib(needed)} are needed and ${gib(free)} are free`, "space", {
    hint,
  });
}

function describeAll(usable: readonly Repository[]): string {
  if (usable.length === 0) return "No storage repository of the pool can take a disk now";
  const shown = usable.slice(0, SHOWN_MAX).map(({ record }) => {
    const free = freeBytes(record);
    const shared = isSet(record, "shared") ? "shared" : "of one host";
    return `"${text(record, "name_label")}" (${text(record, "uuid")}, ${free === undefined ? "room unknown" : `${gib(free)} free`}, ${shared})`;
  });
  const more = usable.length > shown.length ? ` and ${usable.length - shown.length} more` : "";
  return `The pool has ${shown.join(", ")}${more}`;
}

function gib(count: number): string {
  return `${(count / GIB).toFixed(1)} GiB`;
}
