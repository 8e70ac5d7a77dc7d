import { changedBlocks, keepBlockHashes } from "../changed-blocks.js";
import type { Database } from "../database/database.js";
import { XapiFault } from "../fault.js";
import { nbdInfo } from "../nbd-info.js";
import { copyDisk, newDisk } from "../new-disk.js";
import { during } from "../operations.js";
import { method, type Method, type MethodCall } from "../rpc/method.js";
import { newRecord } from "../rpc/new-record.js";
import { assertIdle, deleteDisk, snapshotDisk } from "../snapshots.js";
import { NULL_REF, textOf } from "../value.js";

const ADMIN = { role: "vm-admin" } as const;
const NEEDED = "SR virtual_size type sharable read_only other_config";

export const DISK_CALLS: readonly Method[] = [
  method("VDI.create", { ...ADMIN, takes: "record:record" }, ({ pool, args }) => {
    const fields = newRecord("VDI", args.map("record"), NEEDED);
    const sr = textOf(fields["SR"]);
    pool.database.row("SR", sr);
    return newDisk(pool, sr, Number(fields["virtual_size"]), { ...fields, is_a_snapshot: false });
  }),
  method("VDI.snapshot", { ...ADMIN, takes: "vdi:VDI driver_params:map?" }, (call) =>
    working(call, "snapshot", (vdi) => snapshotDisk(call.pool, vdi, call.args.map("driver_params"))),
  ),
  method("VDI.clone", { ...ADMIN, takes: "vdi:VDI driver_params:map?" }, (call) =>
    working(call, "clone", (vdi) => copyDisk(call.pool, vdi, call.pool.database.text("VDI", vdi, "SR"))),
  ),
  method("VDI.copy", { ...ADMIN, takes: "vdi:VDI sr:ref base_vdi:ref? into_vdi:ref?" }, (call) =>
    working(call, "copy", (vdi) => copy(call, vdi)),
  ),
  method("VDI.destroy", { ...ADMIN, takes: "self:VDI" }, (call) =>
    working(call, "destroy", async (vdi) => {
      if (call.pool.database.row("VDI", vdi)["managed"] !== true) throw new XapiFault("VDI_NOT_MANAGED", vdi);
      assertIdle(call.pool, vdi, "destroy");
      await deleteDisk(call.pool, vdi);
      return "";
    }),
  ),
  method("VDI.resize", { ...ADMIN, takes: "vdi:VDI size:int" }, (call) =>
    working(call, "resize", async (vdi) => {
      assertIdle(call.pool, vdi, "resize");
      const [now, size] = [call.pool.store.size(vdi), call.args.number("size")];
      if (size < now) throw new XapiFault("VDI_TOO_SMALL", vdi, String(now));
      await call.pool.store.resize(vdi, size);
      call.pool.database.update("VDI", vdi, { virtual_size: size });
      return "";
    }),
  ),
  method("VDI.get_nbd_info", { ...ADMIN, takes: "self:VDI", since: "8.2" }, ({ pool, args, session }) =>
    nbdInfo(pool, args.text("self"), session.ref),
  ),
  ...trackingCalls(),
];

/** Changed block tracking. */
function trackingCalls(): Method[] {
  const traits = { ...ADMIN, takes: "self:VDI", since: "8.2" } as const;
  return [
    method("VDI.enable_cbt", traits, ({ pool: { database }, args }) => {
      const vdi = args.text("self");
      assertTrackable(database, vdi);
      database.update("VDI", vdi, { cbt_enabled: true });
      return "";
    }),
    method("VDI.disable_cbt", traits, ({ pool: { database }, args }) => {
      const vdi = args.text("self");
      assertTrackable(database, vdi);
      database.update("VDI", vdi, { cbt_enabled: false });
      return "";
    }),
    method(
      "VDI.list_changed_blocks",
      { role: "vm-operator", takes: "vdi_from:VDI vdi_to:VDI", since: "8.2" },
      ({ pool, args }) => changedBlocks(pool, args.text("vdi_from"), args.text("vdi_to")),
    ),
    method("VDI.data_destroy", traits, (call) =>
      working(call, "data_destroy", async (vdi) => {
        const { database, store } = call.pool;
        const row = database.row("VDI", vdi);
        if (row["is_a_snapshot"] !== true)
          throw new XapiFault("OPERATION_NOT_ALLOWED", `VDI is not a snapshot: ${vdi}`);
        if (row["cbt_enabled"] !== true) throw new XapiFault("VDI_NO_CBT_METADATA", vdi);
        assertIdle(call.pool, vdi, "data_destroy");
        await keepBlockHashes(store, vdi);
        database.update("VDI", vdi, { type: "cbt_metadata" });
        for (const vbd of database.where("VBD", "VDI", vdi)) database.delete("VBD", vbd);
        return "";
      }),
    ),
  ];
}

function assertTrackable(database: Database, vdi: string): void {
  const row = database.row("VDI", vdi);
  if (row["is_a_snapshot"] === true) throw new XapiFault("OPERATION_NOT_ALLOWED", `VDI is a snapshot: ${vdi}`);
  const type = row["type"] as string;
  if (!["user", "system"].includes(type)) throw new XapiFault("VDI_INCOMPATIBLE_TYPE", vdi, type);
}

function working({ pool, args, task }: MethodCall, operation: string, run: (vdi: string) => Promise<string>) {
  const vdi = args.has("self") ? args.text("self") : args.text("vdi");
  return during(pool.database, { className: "VDI", ref: vdi, operation, task: task.ref }, () => run(vdi));
}

async function copy({ pool, args }: MethodCall, vdi: string): Promise<string> {
  const into = args.text("into_vdi");
  if (into === "" || into === NULL_REF) return copyDisk(pool, vdi, checkedSr(pool.database, args.text("sr")));
  assertIdle(pool, into, "copy");
  if (pool.store.size(into) < pool.store.size(vdi)) {
    throw new XapiFault("VDI_TOO_SMALL", into, String(pool.store.size(vdi)));
  }
  await pool.store.copy(vdi, into);
  await pool.store.resize(into, pool.store.size(into));
  return into;
}

function checkedSr(database: Database, sr: string): string {
  database.row("SR", sr);
  return sr;
}
