import { IntegrityError } from "../../errors.js";
import type { CallOptions } from "../../hypervisor.js";
import { text } from "./fields.js";
import { isRecord, type XapiRecord, type XapiValue } from "./value.js";
import type { PoolFacts, XapiVersion, XenHost } from "./xapi.js";

type Call = (method: string, args: readonly XapiValue[], options: CallOptions) => Promise<XapiValue>;

/** Every record of a class by its reference. @throws XapiFault, IntegrityError */
export async function recordsOf(call: Call, klass: string, options: CallOptions): Promise<Map<string, XapiRecord>> {
  return toRecords(await call(`${klass}.get_all_records`, [], options), klass);
}

/** A map of records by reference. @throws IntegrityError */
export function toRecords(answer: XapiValue, klass: string): Map<string, XapiRecord> {
  if (!isRecord(answer)) throw new IntegrityError(`Cannot read the records of ${klass}: the answer is no map`);
  const records = new Map<string, XapiRecord>();
  for (const [ref, record] of Object.entries(answer)) if (isRecord(record)) records.set(ref, record);
  return records;
}

/** @throws XapiFault */
export async function loadPoolFacts(call: Call, options: CallOptions): Promise<PoolFacts> {
  const [pool] = (await recordsOf(call, "pool", options)).values();
  if (pool === undefined) throw new IntegrityError("Cannot read the pool: the server shows none");
  const software = await call("host.get_software_version", [text(pool, "master")], options);
  const versions = isRecord(software) ? software : {};
  const version = text(versions, "product_version_text") || text(versions, "product_version");
  const brand = text(versions, "product_brand") || text(versions, "platform_name") || "XAPI";
  return {
    uuid: text(pool, "uuid"),
    name: text(pool, "name_label"),
    product: `${brand} ${version}`.trim(),
    version: text(versions, "product_version") || version,
    xapi: toVersion(text(versions, "xapi")),
  };
}

/** "1.20", "24.39.1" … */
export function toVersion(shown: string): XapiVersion {
  const [, major = "0", minor = "0"] = /^(\d{1,4})\.(\d{1,4})/.exec(shown) ?? [];
  return { major: Number(major), minor: Number(minor) };
}

export function isAtLeast(version: XapiVersion, major: number, minor: number): boolean {
  return version.major > major || (version.major === major && version.minor >= minor);
}

/** The master first, then those that are alive, each part by name. @throws XapiFault */
export async function loadHosts(call: Call, options: CallOptions): Promise<XenHost[]> {
  const [pools, hosts, metrics] = await Promise.all([
    recordsOf(call, "pool", options),
    recordsOf(call, "host", options),
    recordsOf(call, "host_metrics", options),
  ]);
  const master = text([...pools.values()][0] ?? {}, "master");
  const rank = (host: XenHost): number => (host.ref === master ? 0 : host.isLive ? 1 : 2);
  const found = [...hosts].map(([ref, record]) => ({
    ref,
    uuid: text(record, "uuid"),
    name: text(record, "name_label"),
    address: text(record, "address"),
    // A master that answers is alive, whatever it says of itself.
    isLive: ref === master || metrics.get(text(record, "metrics"))?.["live"] === true,
  }));
  return found.sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
}
