import { fieldsOf } from "../database/classes.js";
import { XapiFault } from "../fault.js";
import type { ProfileName } from "../profile.js";
import { typed } from "../rpc/arguments.js";
import { isMap, NULL_REF, textOf, type Value } from "../value.js";
import { importError } from "./import-failure.js";
import type { ArchivedObject } from "./ova-document.js";
import { requiredFields } from "./required-fields.js";

type Fields = Readonly<Record<string, Value>>;

/** One object of an archive with its fields in the types of this release. */
export interface ImportedObject {
  readonly id: string;
  readonly fields: Fields;
}

/** The objects of an archive by class, checked before anything is made of them. */
export class ArchiveContents {
  readonly #objects = new Map<string, ImportedObject[]>();
  readonly #classes = new Map<string, string>();

  /** @throws XapiFault IMPORT_ERROR for records that lack a field or hold the wrong type */
  constructor(objects: readonly ArchivedObject[], profile: ProfileName) {
    for (const { class: className, id, snapshot } of objects) {
      const fields = readFields(className, snapshot, profile);
      this.#objects.set(className, [...this.of(className), { id, fields }]);
      this.#classes.set(id, className);
    }
    this.#assertConsistent();
  }

  of(className: string): readonly ImportedObject[] {
    return this.#objects.get(className) ?? [];
  }

  get(className: string, id: Value | undefined): ImportedObject | undefined {
    return this.of(className).find((object) => object.id === id);
  }

  /** The VBDs of a VM, by what they say themselves. */
  devicesOf(className: "VBD" | "VIF", vm: ImportedObject): readonly ImportedObject[] {
    return this.of(className).filter(({ fields }) => fields["VM"] === vm.id);
  }

  /** Whether the bytes of a disk are elsewhere: on storage for images of CDs. */
  isOnIsoStorage({ fields }: ImportedObject): boolean {
    return this.get("SR", fields["SR"])?.fields["content_type"] === "iso";
  }

  /** Disks whose bytes follow, in their order: ids compared as texts. Suspended memory is always among them. */
  disks(): readonly ImportedObject[] {
    const drives = this.of("VBD").filter(({ fields }) => fields["type"] !== "CD");
    const used = new Set(drives.map(({ fields }) => fields["VDI"]));
    return this.of("VDI")
      .filter((vdi) => !this.isOnIsoStorage(vdi))
      .filter(({ id, fields }) => used.has(id) || fields["type"] === "suspend")
      .sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  /** @throws XapiFault IMPORT_ERROR_FAILED_TO_FIND_OBJECT, DEVICE_ALREADY_EXISTS */
  #assertConsistent(): void {
    for (const { fields } of this.of("VBD")) {
      if (fields["type"] !== "CD") this.#assertThere("VDI", fields["VDI"]);
    }
    for (const { fields } of this.of("VDI")) this.#assertThere("SR", fields["SR"]);
    for (const { fields } of this.of("VIF")) this.#assertThere("network", fields["network"]);
    for (const vm of this.of("VM")) {
      const seen = new Set<string>();
      for (const { fields } of this.devicesOf("VBD", vm)) {
        const device = textOf(fields["userdevice"]);
        if (seen.has(device)) throw new XapiFault("DEVICE_ALREADY_EXISTS", device);
        seen.add(device);
      }
    }
  }

  #assertThere(className: string, id: Value | undefined): void {
    if (this.#classes.get(textOf(id)) !== className) {
      throw new XapiFault("IMPORT_ERROR_FAILED_TO_FIND_OBJECT", textOf(id) === "" ? NULL_REF : textOf(id));
    }
  }
}

/** Unknown fields are passed over; those of newer releases have their first value when they are missing. */
function readFields(className: string, snapshot: Fields, profile: ProfileName): Fields {
  for (const name of requiredFields(className, profile)) {
    if (snapshot[name] === undefined) throw importError(`Failure("Field ${name} not present in rpc")`);
  }
  const fields = fieldsOf(className, profile).flatMap(({ name, type, initial }): [string, Value][] => {
    const given = snapshot[name];
    return [[name, given === undefined ? initial : fieldValue(name, type === "refmap" ? "map" : type, given)]];
  });
  return Object.fromEntries(fields);
}

function fieldValue(name: string, type: Parameters<typeof typed>[1], given: Value): Value {
  // An empty element is an empty text, whatever it was meant to be.
  if (given === "" && (type === "set" || type === "refs")) return [];
  if (given === "" && type === "map") return {};
  try {
    return typed(name, type, given);
  } catch (error) {
    if (error instanceof XapiFault) throw importError(`Failure("${name} has the wrong type")`);
    throw error;
  }
}

/** A map of texts; empty when the field is none. */
export function textMap(value: Value | undefined): Readonly<Record<string, string>> {
  if (value === undefined || !isMap(value)) return {};
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, textOf(one)]));
}
