import { isRecord, type XapiRecord, type XapiValue } from "../xapi/value.js";
import { NEUTRAL_FIELDS } from "./neutral-fields.js";
import type { Ova, OvaObject } from "./ova.js";
import { rpcArray, rpcBoolean, rpcDate, type RpcStruct, rpcStruct, rpcText, type RpcValue } from "./rpc-value.js";

/** Who writes the archive, as `host.software_version` tells. */
export interface OvaWriter {
  readonly hostname: string;
  /** `YYYY-MM-DD` */
  readonly date: string;
  readonly productVersion: string;
  readonly productBrand: string;
  readonly buildNumber: string;
  readonly xapi: { readonly major: number; readonly minor: number };
}

export interface ApiObject {
  /** `VM`, `VBD`, `VDI` … */
  readonly class: string;
  readonly ref: string;
  /** As `get_record` gives it. */
  readonly record: XapiRecord;
}

/** XML-RPC tells dates from texts, and XAPI's answers come without the difference. */
const DATE_FIELDS: readonly string[] = ["snapshot_time"];

/**
 * What a host that cannot export the records of a snapshot would have written: its objects under their own references, with
 * the fields that clients are not shown added. To be edited (`editOva`) before it is of use.
 */
export function buildOva(writer: OvaWriter, objects: readonly ApiObject[]): Ova {
  return {
    version: rpcStruct([
      ["hostname", rpcText(writer.hostname)],
      ["date", rpcText(writer.date)],
      ["product_version", rpcText(writer.productVersion)],
      ["product_brand", rpcText(writer.productBrand)],
      ["build_number", rpcText(writer.buildNumber)],
      ["xapi_major", rpcText(String(writer.xapi.major))],
      ["xapi_minor", rpcText(String(writer.xapi.minor))],
      ["export_vsn", rpcText("2")],
    ]),
    objects: objects.map(ovaObject),
  };
}

function ovaObject({ class: name, ref, record }: ApiObject): OvaObject {
  const given = Object.entries(record).map(([field, value]): [string, RpcValue] => {
    const isDate = DATE_FIELDS.includes(field) && typeof value === "string";
    return [field, isDate ? rpcDate(value) : rpcValue(value)];
  });
  const known = new Set(given.map(([field]) => field));
  const added = [...(NEUTRAL_FIELDS.get(name) ?? [])].filter(([field]) => !known.has(field));
  return { class: name, id: ref, record: rpcStruct([...given, ...added]) };
}

function rpcValue(value: XapiValue): RpcValue {
  if (typeof value === "boolean") return rpcBoolean(value);
  if (typeof value === "number") return { kind: "scalar", type: "double", text: String(value) };
  if (typeof value === "string") return rpcText(value);
  return isRecord(value) ? rpcMap(value) : rpcArray(value.map(rpcValue));
}

function rpcMap(value: XapiRecord): RpcStruct {
  return rpcStruct(Object.entries(value).map(([name, one]) => [name, rpcValue(one)] as const));
}
