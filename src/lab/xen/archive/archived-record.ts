import { EPOCH, NULL_REF, type Value } from "../value.js";
import type { ReferenceTable } from "./reference-table.js";

/** What the records of one archive keep. */
export interface RecordStyle {
  /** Power state, suspended memory and what is plugged; otherwise the VM is shown as it is when it is off. */
  readonly powerState: "kept" | "halted";
  /** Whether the archive shows snapshots as such, with their VM. */
  readonly snapshots: "shown" | "hidden";
  /** Kinds of devices that are left out: `vif`, `vbd`. */
  readonly excluded?: ReadonlySet<string>;
}

type ObjectRecord = Readonly<Record<string, Value>>;
type Rewrite = (record: ObjectRecord, table: ReferenceTable, style: RecordStyle) => ObjectRecord;

const NO_OPERATIONS = { allowed_operations: [], current_operations: {} };

/** What xapi changes in the records of each class when it writes them into an archive; all else stays. */
const REWRITES: Readonly<Record<string, Rewrite>> = {
  host: (record) => blanked(record, ["software_version", "API_version_vendor_implementation"]),
  VM: machine,
  VBD: (record, table, style) => ({
    ...plugged(record, style),
    VM: table.id(record["VM"]),
    VDI: table.id(record["VDI"]),
  }),
  VIF: (record, table, style) => ({
    ...plugged(record, style),
    VM: table.id(record["VM"]),
    network: table.id(record["network"]),
  }),
  network: (record, table) => ({ ...NO_OPERATIONS, VIFs: table.ids(record["VIFs"]), PIFs: [] }),
  VDI: (record, table) => ({
    ...NO_OPERATIONS,
    VBDs: table.ids(record["VBDs"]),
    crash_dumps: [],
    SR: table.id(record["SR"]),
  }),
  SR: (record, table) => ({ ...NO_OPERATIONS, VDIs: table.ids(record["VDIs"]), PBDs: [] }),
};

/** @param record as get_record shows it; only fields that the release has are changed */
export function archivedRecord(
  className: string,
  record: ObjectRecord,
  table: ReferenceTable,
  style: RecordStyle,
): ObjectRecord {
  const changes = REWRITES[className]?.(record, table, style) ?? {};
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, changes[name] ?? value]));
}

function machine(record: ObjectRecord, table: ReferenceTable, { powerState, snapshots }: RecordStyle): ObjectRecord {
  const lists = ["VBDs", "VIFs", "VGPUs", "VUSBs", "VTPMs", "attached_PCIs"];
  return {
    ...NO_OPERATIONS,
    ...{ consoles: [], crash_dumps: [], blobs: {}, protection_policy: NULL_REF, scheduled_to_be_resident_on: NULL_REF },
    ...Object.fromEntries(lists.map((name) => [name, table.ids(record[name])])),
    ...Object.fromEntries(
      ["resident_on", "affinity", "metrics", "guest_metrics"].map((name) => [name, table.idOrDangling(record[name])]),
    ),
    suspend_VDI: table.id(record["suspend_VDI"]),
    ...(powerState === "kept" ? {} : { power_state: "Halted", suspend_VDI: NULL_REF }),
    ...(snapshots === "shown"
      ? { snapshot_of: table.id(record["snapshot_of"]), parent: table.id(record["parent"]) }
      : {
          is_a_snapshot: false,
          snapshot_of: NULL_REF,
          snapshots: [],
          snapshot_time: EPOCH,
          transportable_snapshot_id: "",
          parent: NULL_REF,
        }),
  };
}

function plugged(record: ObjectRecord, { powerState }: RecordStyle): ObjectRecord {
  const isPlugged = powerState === "kept" && record["currently_attached"] === true;
  return { ...NO_OPERATIONS, currently_attached: isPlugged, metrics: NULL_REF };
}

/** Sets and maps emptied, except for those that are named. */
function blanked(record: ObjectRecord, kept: readonly string[]): ObjectRecord {
  const empty = Object.entries(record).flatMap(([name, value]): [string, Value][] => {
    if (typeof value !== "object" || value instanceof Date || kept.includes(name)) return [];
    if (Array.isArray(value)) return [[name, []]];
    return value.constructor === Object ? [[name, {}]] : [];
  });
  return Object.fromEntries(empty);
}
