import { deepStrictEqual } from "node:assert/strict";
import fc from "fast-check";
import t from "tap";
import { UsageError } from "../../src/errors.js";
import { joinInventoryPath, LOCATOR_FORMS, parseLocator, splitInventoryPath } from "../../src/locator.js";
import { holds } from "../fixtures/property.js";

const SERVERS = new Set(["lab", "vc1"]);
const UUID = "4211A1B2-0000-1111-2222-333344445555";

void t.test("parseLocator() reads every form", (t) => {
  const cases: [string, unknown][] = [
    ["/dc/folder/a%2fb", { kind: "path", path: ["dc", "folder", "a/b"] }],
    ["/", { kind: "path", path: [] }],
    ["name:web01", { kind: "name", name: "web01" }],
    ["NAME:web01", { kind: "name", name: "web01" }],
    ["name:a:b", { kind: "name", name: "a:b" }],
    [`uuid:${UUID}`, { kind: "uuid", uuid: UUID.toLowerCase() }],
    [`instanceuuid:${UUID}`, { kind: "instanceuuid", uuid: UUID.toLowerCase() }],
    ["moref:vm-42", { kind: "moref", id: "vm-42" }],
    ["ipaddr:web01.example.org", { kind: "ipaddr", address: "web01.example.org" }],
    ["ipaddr:::1", { kind: "ipaddr", address: "::1" }],
    ["vmx:[ds1] web01/web01.vmx", { kind: "vmx", path: "[ds1] web01/web01.vmx" }],
    ["glob:web*", { kind: "glob", pattern: "web*" }],
    ["powerstate:ON", { kind: "powerstate", state: "on" }],
    ["any:", { kind: "any" }],
    [UUID, { kind: "instanceuuid", uuid: UUID.toLowerCase() }],
    ["10.0.0.1", { kind: "ipaddr", address: "10.0.0.1" }],
    ["fe80::1", { kind: "ipaddr", address: "fe80::1" }],
    ["web01", { kind: "name", name: "web01" }],
    ["other:web01", { kind: "name", name: "other:web01" }],
  ];
  for (const [text, form] of cases) {
    t.strictSame(parseLocator(text, SERVERS), { server: undefined, form, text }, text);
    t.strictSame(parseLocator(`lab:${text}`, SERVERS), { server: "lab", form, text: `lab:${text}` });
  }
  t.end();
});

void t.test("every form of the table is one that can be read", (t) => {
  for (const [kind, { example }] of Object.entries(LOCATOR_FORMS)) {
    const text = example.replace(/(4211|5011)…/, UUID);
    t.equal(parseLocator(text, SERVERS).form.kind, kind);
  }
  t.end();
});

void t.test("parseLocator() refuses what names nothing", (t) => {
  const bad = [
    "",
    "lab:",
    "name:",
    "uuid:",
    "uuid:42",
    "instanceuuid:x",
    "moref:",
    "powerstate:asleep",
    "a\nb",
    "\u001b[2J",
  ];
  for (const text of [...bad, "x".repeat(4097)])
    t.throws(() => parseLocator(text, SERVERS), UsageError, text.slice(0, 20));
  t.throws(() => parseLocator("name:", SERVERS), { message: 'Cannot use VM locator "name:": nothing follows "name:"' });
  t.end();
});

void t.test("splitInventoryPath() undoes three escapes and no others", (t) => {
  t.strictSame(splitInventoryPath("/dc//a%2Fb/c%5cd/100%25/%41/%2"), ["dc", "a/b", "c\\d", "100%", "%41", "%2"]);
  t.strictSame(splitInventoryPath("%252f"), ["%2f"]);
  t.end();
});

void t.test("joinInventoryPath() and splitInventoryPath() undo each other", async (t) => {
  const names = fc.array(
    fc.string({ minLength: 1, unit: fc.constantFrom("a", "/", "\\", "%", "2", "5", "f", "c", "F") }),
  );
  const property = fc.property(names, (segments) => {
    deepStrictEqual(splitInventoryPath(joinInventoryPath(segments)), segments);
  });
  await holds(t, property, { runs: 500 });
});

void t.test("bare text is what the lookup says; a path or a form word is always itself", (t) => {
  const none = new Set<string>();
  const form = (text: string, lookup: "auto" | "ipaddr" | "name") => parseLocator(text, none, lookup).form;
  const uuid = "4211a1b2-0000-1111-2222-333344445555";
  t.match(form("web01", "ipaddr"), { kind: "ipaddr", address: "web01" });
  t.match(form(uuid, "ipaddr"), { kind: "ipaddr" });
  t.match(form("10.0.0.7", "name"), { kind: "name", name: "10.0.0.7" });
  t.match(form(uuid, "name"), { kind: "name", name: uuid });
  t.match(form("10.0.0.7", "auto"), { kind: "ipaddr" });
  t.match(form(uuid, "auto"), { kind: "instanceuuid" });
  t.match(form("web01", "auto"), { kind: "name" });
  for (const lookup of ["auto", "ipaddr", "name"] as const) {
    t.match(form("/dc/web01", lookup), { kind: "path" });
    t.match(form("name:web01", lookup), { kind: "name", name: "web01" });
    t.match(form("ipaddr:web01", lookup), { kind: "ipaddr" });
    t.throws(() => form("", lookup), /empty/);
  }
  t.match(parseLocator("vc1:web01", new Set(["vc1"]), "ipaddr"), { server: "vc1", form: { kind: "ipaddr" } });
  t.end();
});
