import { IntegrityError } from "../../errors.js";
import { printable } from "../../printable.js";
import { rpcArray, type RpcStruct, rpcStruct, rpcText, type RpcValue, textOf } from "./rpc-value.js";
import { formatRpcXml, parseRpcXml } from "./rpc-xml.js";

/** One exported object: `{ class, id, snapshot }`, where the snapshot is its XenAPI record. */
export interface OvaObject {
  /** `VM`, `VBD`, `VDI` … */
  readonly class: string;
  /** The key under which other records name it: `Ref:12`. For a disk also the folder of its chunks. */
  readonly id: string;
  readonly record: RpcStruct;
}

/** What ova.xml holds: who wrote it, and records. */
export interface Ova {
  readonly version: RpcStruct;
  readonly objects: readonly OvaObject[];
}

/** A VM with 30 snapshots of 16 disks has some thousand. */
const OBJECTS_MAX = 20_000;

/** @throws IntegrityError */
export function parseOva(data: Uint8Array): Ova {
  const top = parseRpcXml(data);
  if (top.kind !== "struct") throw unusable("it holds no version and objects");
  const version = top.members.get("version");
  const objects = top.members.get("objects");
  if (version?.kind !== "struct" || objects?.kind !== "array") throw unusable("it holds no version and objects");
  if (objects.items.length > OBJECTS_MAX) throw unusable(`it has more than ${OBJECTS_MAX} objects`);
  const parsed = objects.items.map(objectOf);
  const ids = new Set<string>();
  for (const { id } of parsed) {
    if (ids.has(id)) throw unusable(`two objects have the id "${printable(id)}"`);
    ids.add(id);
  }
  return { version, objects: parsed };
}

function objectOf(value: RpcValue): OvaObject {
  const members = value.kind === "struct" ? value.members : undefined;
  const [name, id] = [textOf(members?.get("class")), textOf(members?.get("id"))];
  const record = members?.get("snapshot");
  if (name === undefined || id === undefined || id === "" || record?.kind !== "struct") {
    throw unusable("an object has no class, id and record");
  }
  return { class: name, id, record };
}

export function formatOva(ova: Ova): Uint8Array {
  const objects = ova.objects.map((object) =>
    rpcStruct([
      ["class", rpcText(object.class)],
      ["id", rpcText(object.id)],
      ["snapshot", object.record],
    ]),
  );
  const top = rpcStruct([
    ["version", ova.version],
    ["objects", rpcArray(objects)],
  ]);
  return Buffer.from(formatRpcXml(top), "utf8");
}

function unusable(why: string): IntegrityError {
  return new IntegrityError(`Cannot read ova.xml: ${why}`);
}

/** The text of a field; undefined when it is absent. */
export function field({ record }: OvaObject, name: string): string | undefined {
  return textOf(record.members.get(name));
}
