import { randomUUID } from "node:crypto";
import { type ArchiveContents, type ImportedObject, textMap } from "../../archive/archive-contents.js";
import { XapiFault } from "../../fault.js";
import { newDisk } from "../../new-disk.js";
import { deleteDisk } from "../../snapshots.js";
import { EPOCH, NULL_REF, textOf, type Value } from "../../value.js";
import type { XenPool } from "../../xen-pool.js";
import { generatedMac } from "./mac-address.js";

export interface ImportWish {
  readonly pool: XenPool;
  readonly contents: ArchiveContents;
  /** Whether uuids, MAC addresses and their seed are kept. */
  readonly identity: "kept" | "new";
  /** Reference of the task of the import. */
  readonly task: string;
  /** Disks by their id in the archive, where they are there already; absent: they are made on `sr`. */
  readonly existingDisks?: ReadonlyMap<string, string>;
  readonly sr: string;
}

const NO_OPERATIONS = { allowed_operations: [], current_operations: {} };

/** Makes the objects of an archive in the pool, and can take all of them away again. */
export class ImportedObjects {
  readonly #wish: ImportWish;
  /** References by id in the archive. */
  readonly #refs = new Map<string, string>();
  readonly #created: (readonly [className: string, ref: string])[] = [];

  constructor(wish: ImportWish) {
    this.#wish = wish;
  }

  /** The disk that was made for one of the archive. */
  disk({ id }: ImportedObject): string {
    return this.#ref(id);
  }

  /** @returns references of the VMs. @throws XapiFault */
  async create(vms: readonly ImportedObject[]): Promise<string[]> {
    const { contents } = this.#wish;
    const used = new Set(vms.flatMap((vm) => contents.devicesOf("VBD", vm)).map(({ fields }) => fields["VDI"]));
    for (const vdi of contents.of("VDI")) {
      if (used.has(vdi.id) || vdi.fields["type"] === "suspend") await this.#createDisk(vdi);
    }
    // Before snapshots come the VMs that they are of.
    const sorted = [...vms].sort((a, b) => Number(isSnapshot(a)) - Number(isSnapshot(b)));
    const refs = sorted.map((vm) => this.#createVm(vm));
    for (const vm of sorted) {
      for (const vbd of contents.devicesOf("VBD", vm)) this.#createVbd(vbd);
      for (const vif of contents.devicesOf("VIF", vm)) this.#createVif(vm, vif);
    }
    return refs.filter((_, index) => !isSnapshot(sorted[index]));
  }

  /** Removes everything that was made. */
  async undo(): Promise<void> {
    const { database } = this.#wish.pool;
    for (const [className, ref] of [...this.#created].reverse()) {
      if (!database.has(className, ref)) continue;
      if (className === "VDI") await deleteDisk(this.#wish.pool, ref);
      else database.delete(className, ref);
    }
  }

  async #createDisk(vdi: ImportedObject): Promise<void> {
    const { pool, contents, existingDisks, sr, task } = this.#wish;
    const { fields } = vdi;
    const existing = existingDisks?.get(vdi.id);
    if (existing !== undefined) {
      this.#refs.set(vdi.id, existing);
      return;
    }
    if (contents.isOnIsoStorage(vdi)) {
      // A CD that is nowhere leaves an empty drive behind.
      const found = this.#isoWith(textOf(fields["location"]));
      if (found !== undefined) this.#refs.set(vdi.id, found);
      return;
    }
    if (existingDisks !== undefined) return;
    const kept = ["name_label", "name_description", "type", "sharable", "read_only", "other_config", "xenstore_data"];
    const ref = await newDisk(pool, sr, Number(fields["virtual_size"]), {
      ...Object.fromEntries(kept.map((name) => [name, fields[name] ?? ""])),
      sm_config: { ...textMap(fields["sm_config"]), import_task: task },
    });
    this.#add("VDI", vdi.id, ref);
  }

  #isoWith(location: string): string | undefined {
    const { database } = this.#wish.pool;
    return database.where("VDI", "location", location).find((vdi) => {
      return database.text("SR", database.text("VDI", vdi, "SR"), "content_type") === "iso";
    });
  }

  #createVm({ id, fields }: ImportedObject): string {
    const { pool, identity, task } = this.#wish;
    const { database } = pool;
    const isKept = identity === "kept";
    const otherConfig = textMap(fields["other_config"]);
    const seed = isKept ? (otherConfig["mac_seed"] ?? randomUUID()) : randomUUID();
    const isSuspended = fields["power_state"] === "Suspended" && this.#refs.has(textOf(fields["suspend_VDI"]));
    const metrics = database.create("VM_metrics", { uuid: randomUUID() });
    this.#created.push(["VM_metrics", metrics]);
    const ref = database.create("VM", {
      ...fields,
      ...NO_OPERATIONS,
      ...{
        resident_on: NULL_REF,
        scheduled_to_be_resident_on: NULL_REF,
        domid: -1,
        domarch: "",
        consoles: [],
        blobs: {},
      },
      ...{ appliance: NULL_REF, protection_policy: NULL_REF, snapshot_schedule: NULL_REF, guest_metrics: NULL_REF },
      metrics,
      affinity: this.#host(fields["affinity"]),
      power_state: isSuspended ? "Suspended" : "Halted",
      suspend_VDI: isSuspended ? this.#ref(fields["suspend_VDI"]) : NULL_REF,
      suspend_SR: NULL_REF,
      uuid: isKept ? (fields["uuid"] ?? "") : randomUUID(),
      version: isKept ? Number(fields["version"]) + 1 : 0,
      generation_id: fields["is_a_template"] === true ? (fields["generation_id"] ?? "") : newGeneration(),
      other_config: { ...otherConfig, mac_seed: seed, import_task: task },
      snapshot_of: this.#ref(fields["snapshot_of"]),
      parent: this.#ref(fields["parent"]),
      ...(fields["is_a_snapshot"] === true ? {} : { snapshot_time: EPOCH }),
    });
    this.#add("VM", id, ref);
    return ref;
  }

  #createVbd({ id, fields }: ImportedObject): void {
    const vdi = this.#ref(fields["VDI"]);
    const isCd = fields["type"] === "CD";
    if (vdi === NULL_REF && !isCd) {
      if (fields["currently_attached"] === true) throw new XapiFault("IMPORT_ERROR_ATTACHED_DISKS_NOT_FOUND");
      return;
    }
    const isEmpty = vdi === NULL_REF;
    const placed = { uuid: this.#uuid(fields), VM: this.#ref(fields["VM"]), VDI: vdi, empty: isEmpty, device: "" };
    const detached = { ...NO_OPERATIONS, currently_attached: false, metrics: NULL_REF, reserved: false };
    this.#replaceUnplugged("VBD", placed.uuid);
    this.#add("VBD", id, this.#wish.pool.database.create("VBD", { ...fields, ...placed, ...detached }));
  }

  #createVif(vm: ImportedObject, { id, fields }: ImportedObject): void {
    const { database } = this.#wish.pool;
    const isKept = this.#wish.identity === "kept";
    const seed = textMap(database.row("VM", this.#ref(vm.id))["other_config"])["mac_seed"] ?? "";
    const uuid = this.#uuid(fields);
    this.#replaceUnplugged("VIF", uuid);
    const ref = database.create("VIF", {
      ...fields,
      ...NO_OPERATIONS,
      ...{ currently_attached: false, metrics: NULL_REF, reserved: false },
      uuid,
      VM: this.#ref(vm.id),
      network: this.#network(fields["network"]),
      MAC: isKept ? (fields["MAC"] ?? "") : generatedMac(seed, textOf(fields["device"])),
      MAC_autogenerated: !isKept,
    });
    this.#add("VIF", id, ref);
  }

  /** A device with the same uuid is used again, which comes to the same. */
  #replaceUnplugged(className: "VBD" | "VIF", uuid: string): void {
    const { database } = this.#wish.pool;
    for (const ref of database.where(className, "uuid", uuid)) database.delete(className, ref);
  }

  /** By name, then by bridge, else a new one that leads nowhere. */
  #network(id: Value | undefined): string {
    const known = this.#refs.get(textOf(id));
    if (known !== undefined) return known;
    const { pool, contents } = this.#wish;
    const { database } = pool;
    const fields = contents.get("network", id)?.fields ?? {};
    const [byName] = database.where("network", "name_label", fields["name_label"] ?? "");
    const [byBridge] = database.where("network", "bridge", fields["bridge"] ?? "");
    const found = byName ?? byBridge;
    if (found !== undefined) {
      this.#refs.set(textOf(id), found);
      return found;
    }
    const { name_label = "", name_description = "", MTU = 1500, other_config = {} } = fields;
    const own = { uuid: randomUUID(), bridge: `xapi${database.refs("network").length}` };
    return this.#add(
      "network",
      textOf(id),
      database.create("network", { ...own, name_label, name_description, MTU, other_config }),
    );
  }

  #host(id: Value | undefined): string {
    const uuid = this.#wish.contents.get("host", id)?.fields["uuid"];
    return uuid === undefined ? NULL_REF : (this.#wish.pool.database.where("host", "uuid", uuid)[0] ?? NULL_REF);
  }

  #uuid(fields: Readonly<Record<string, Value>>): string {
    return this.#wish.identity === "kept" ? textOf(fields["uuid"]) : randomUUID();
  }

  #ref(id: Value | undefined): string {
    return this.#refs.get(textOf(id)) ?? NULL_REF;
  }

  #add(className: string, id: string, ref: string): string {
    this.#refs.set(id, ref);
    this.#created.push([className, ref]);
    return ref;
  }
}

function isSnapshot(vm: ImportedObject | undefined): boolean {
  return vm?.fields["is_a_snapshot"] === true;
}

function newGeneration(): string {
  return `${randomUUID().slice(0, 16)}:${randomUUID().slice(0, 16)}`;
}
