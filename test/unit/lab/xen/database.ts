import t from "tap";
import { Database } from "../../../../src/lab/xen/database/database.js";
import { parseFields } from "../../../../src/lab/xen/database/field.js";
import { loadRows, saveRows } from "../../../../src/lab/xen/database/saved.js";
import { eventsFrom } from "../../../../src/lab/xen/events.js";
import { profileOf } from "../../../../src/lab/xen/profile.js";
import { Double, NULL_REF } from "../../../../src/lab/xen/value.js";

function database(profile: "7.1" | "8.2" | "8.3" = "8.3"): Database {
  return new Database(profileOf(profile));
}

void t.test("fields say their names, types and releases in one word", (t) => {
  const [label, purpose, vbds, max] = parseFields("name/label* purpose:set@8.2 VBDs<VBD.VM VCPUs/max:int=1");
  t.match(label, { name: "name_label", databaseName: "name__label", type: "string", isSettable: true });
  t.match(purpose, { type: "set", since: "8.2", isSettable: false, initial: [] });
  t.match(vbds, { type: "refs", derived: { from: "VBD", field: "VM" } });
  t.match(max, { initial: 1 });
  t.throws(() => parseFields("a-b"), /cannot be read/);
  t.end();
});

void t.test("lists that point back follow from the references", (t) => {
  const db = database();
  const vm = db.create("VM", { uuid: "v", name_label: "a" });
  const vdi = db.create("VDI", { uuid: "d" });
  const vbd = db.create("VBD", { uuid: "b", VM: vm, VDI: vdi });
  const snapshot = db.create("VM", { uuid: "s", snapshot_of: vm });
  db.update("VM", vm, { parent: snapshot });
  t.strictSame(db.field("VM", vm, "VBDs"), [vbd]);
  t.strictSame(db.field("VDI", vdi, "VBDs"), [vbd]);
  t.strictSame(db.field("VM", vm, "snapshots"), [snapshot]);
  t.strictSame(db.field("VM", snapshot, "children"), [vm]);
  db.update("VBD", vbd, { VDI: NULL_REF });
  t.strictSame(db.field("VDI", vdi, "VBDs"), []);
  db.delete("VBD", vbd);
  t.strictSame(db.field("VM", vm, "VBDs"), []);
  t.throws(() => db.record("VBD", vbd), { code: "HANDLE_INVALID", parameters: ["VBD", vbd] });
  t.throws(() => db.byUuid("VM", "x"), { code: "UUID_INVALID", parameters: ["VM", "x"] });
  t.end();
});

void t.test("a release shows the fields that it has", (t) => {
  const names = (profile: "7.1" | "8.2" | "8.3", className: string): string[] => {
    const db = database(profile);
    return Object.keys(db.record(className, db.create(className, { uuid: "u" })));
  };
  t.notOk(names("7.1", "network").includes("purpose"));
  t.ok(names("8.2", "network").includes("purpose"));
  t.notOk(names("7.1", "VDI").includes("cbt_enabled"));
  t.notOk(names("8.2", "host").includes("https_only"));
  t.ok(names("8.3", "host").includes("https_only"));
  t.end();
});

void t.test("events: what points to a changed object's list has changed, too", async (t) => {
  const db = database();
  const vm = db.create("VM", { uuid: "v" });
  const { signal } = new AbortController();
  const from = async (token: string, classes = ["VM", "VBD"]): Promise<{ list: string[]; token: string }> => {
    const answer = (await eventsFrom(db, { classes, token, timeoutMs: 50, signal })) as {
      events: { class: string; operation: string; ref: string }[];
      token: string;
    };
    return { list: answer.events.map((one) => `${one.operation} ${one.class} ${one.ref}`), token: answer.token };
  };
  const first = await from("");
  t.strictSame(first.list, [`add vm ${vm}`]);
  t.match(first.token, /^\d{20},\d{20}$/);
  t.strictSame((await from(first.token)).list, [], "nothing until the time is over");
  const vbd = db.create("VBD", { uuid: "b", VM: vm });
  const second = await from(first.token);
  t.strictSame(second.list.sort(), [`add vbd ${vbd}`, `mod vm ${vm}`]);
  db.delete("VBD", vbd);
  t.strictSame((await from(second.token)).list.sort(), [`del vbd ${vbd}`, `mod vm ${vm}`]);
  t.strictSame((await from(first.token)).list, [`mod vm ${vm}`], "who never saw an object is not told of its end");
  t.strictSame((await from(second.token, [`VM/${vm}`])).list, [`mod vm ${vm}`], "one object");
  await t.rejects(from("x"), { code: "EVENT_FROM_TOKEN_PARSE_FAILURE" });
  await t.rejects(from("", ["a/b/c"]), { code: "EVENT_SUBSCRIPTION_PARSE_FAILURE" });
  const waiting = eventsFrom(db, {
    classes: ["VM"],
    token: first.token.replaceAll(/\d{20}/g, String(db.generation).padStart(20, "0")),
    timeoutMs: 10_000,
    signal,
  });
  db.update("VM", vm, { name_label: "b" });
  t.match(await waiting, { events: [{ operation: "mod", snapshot: { name_label: "b" } }] }, "it wakes whoever waits");
});

void t.test("rows survive as JSON, tasks and sessions do not", (t) => {
  const db = database();
  const date = new Date("2024-01-31T10:20:30Z");
  const vm = db.create("VM", { uuid: "v", snapshot_time: date, HVM_shadow_multiplier: new Double(1.5), tags: ["a"] });
  db.create("task", { uuid: "t" });
  const again = database();
  loadRows(again, JSON.parse(JSON.stringify(saveRows(db))) as ReturnType<typeof saveRows>);
  t.strictSame(again.record("VM", vm), db.record("VM", vm));
  t.match(again.counts(), { VM: 1, task: 0 });
  t.end();
});
