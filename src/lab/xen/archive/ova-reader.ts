import { parseXml } from "../../vcenter/xml.js";
import { XapiFault } from "../fault.js";
import type { Profile } from "../profile.js";
import { readValue } from "../rpc/xml-message.js";
import { isList, isMap, textOf, type Value } from "../value.js";
import { importError } from "./import-failure.js";
import type { ArchivedObject } from "./ova-document.js";

/** Of archives before 2007, which have a table of hashes behind the disks. */
const EXPORT_VERSION_MIN = 2;

/**
 * The objects of an archive, their values with the types that the XML tells: numbers are texts still.
 * @throws XapiFault IMPORT_ERROR for what is no ova.xml, IMPORT_INCOMPATIBLE_VERSION for one of a newer host
 */
export function readOva(text: string, profile: Profile): readonly ArchivedObject[] {
  const document = parseValue(text);
  const [version, objects] = [document["version"], document["objects"]];
  if (version === undefined || !isMap(version)) throw missing("version");
  if (objects === undefined || !isList(objects)) throw missing("objects");
  assertCompatible(version, profile);
  return objects.map((object) => {
    const snapshot = isMap(object) ? object["snapshot"] : undefined;
    if (!isMap(object) || snapshot === undefined || !isMap(snapshot)) throw missing("snapshot");
    return { class: textOf(object["class"]), id: textOf(object["id"]), snapshot };
  });
}

function parseValue(text: string): { readonly [name: string]: Value } {
  try {
    const root = parseXml(text);
    const value = root.name === "value" ? readValue(root) : "";
    if (isMap(value)) return value;
  } catch (error) {
    throw importError(`Xmlm.Error(${error instanceof Error ? error.message : ""})`);
  }
  throw importError('Failure("expected a struct")');
}

/**
 * Hosts up to 8.2 want the same major and no newer minor version; later ones any that is not newer than themselves.
 * @throws XapiFault
 */
function assertCompatible(version: { readonly [name: string]: Value }, { xapi, name }: Profile): void {
  for (const key of ["hostname", "date", "product_version", "product_brand", "build_number"]) {
    if (version[key] === undefined) throw missing(key);
  }
  const [major, minor] = [wholeNumber(version["xapi_major"]), wholeNumber(version["xapi_minor"])];
  if (major === undefined) throw missing("xapi_major");
  if (minor === undefined) throw missing("xapi_minor");
  const isNewer = major > xapi[0] || (major === xapi[0] && minor > xapi[1]);
  const isOtherMajor = name !== "8.3" && major !== xapi[0];
  if (isNewer || isOtherMajor) throw new XapiFault("IMPORT_INCOMPATIBLE_VERSION");
  if ((wholeNumber(version["export_vsn"]) ?? 0) < EXPORT_VERSION_MIN) {
    throw importError('Failure("archives of this age cannot be read")');
  }
}

function wholeNumber(value: Value | undefined): number | undefined {
  if (typeof value === "number") return value;
  return typeof value === "string" && /^\d+$/.test(value) ? Number(value) : undefined;
}

function missing(field: string): XapiFault {
  return importError(`Failure("Field ${field} not present in rpc")`);
}
