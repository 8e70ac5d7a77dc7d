import type { Profile } from "../profile.js";
import { xmlValue } from "../rpc/xml-values.js";
import type { Value } from "../value.js";

/** First member of every archive. */
export const OVA_NAME = "ova.xml";
/** Hashes behind every chunk, and no table of them at the end: what is written since 2007. */
export const EXPORT_VERSION = 2;

/** An object of the pool in an archive. */
export interface ArchivedObject {
  readonly class: string;
  /** `Ref:12`; also the directory of a disk. */
  readonly id: string;
  /** The record as get_record shows it, with its references replaced. */
  readonly snapshot: Readonly<Record<string, Value>>;
}

/** The text of ova.xml: one XML-RPC value without white space, header or final newline. */
export function ovaDocument({ softwareVersion, xapi }: Profile, objects: readonly ArchivedObject[]): Buffer {
  const version = {
    hostname: softwareVersion["hostname"] ?? "",
    date: softwareVersion["date"] ?? "",
    product_version: softwareVersion["product_version"] ?? "",
    product_brand: softwareVersion["product_brand"] ?? "",
    build_number: softwareVersion["build_number"] ?? "",
    xapi_major: xapi[0],
    xapi_minor: xapi[1],
    export_vsn: EXPORT_VERSION,
  };
  const members = objects.map((object) => ({ class: object.class, id: object.id, snapshot: object.snapshot }));
  return Buffer.from(xmlValue({ version, objects: members }));
}
