import fc from "fast-check";
import t from "tap";
import type { LocatorForm } from "../../../src/locator.js";
import { matchesGlob } from "../../../src/glob.js";
import { normalAddress } from "../../../src/guest-address.js";
import { holds } from "../../fixtures/property.js";
import { connectScripted } from "../../fixtures/vsphere/connect-scripted.js";
import { objectContent, type Script, startScriptedVcenter, val } from "../../fixtures/vsphere/scripted-vcenter.js";

const { signal } = new AbortController();
const text = (value: string) => val("xsd:string", value);
const ref = (type: string, id: string) => `<val xsi:type="ManagedObjectReference" type="${type}">${id}</val>`;

const NET = val(
  "ArrayOfGuestNicInfo",
  "<GuestNicInfo><ipAddress>192.0.2.7</ipAddress><ipAddress>2001:DB8:0:0::7</ipAddress><ipAddress>fe80::1%eth0</ipAddress></GuestNicInfo>",
);
/** dc-1 holds the folder "team" and the vApp "shop"; three VMs share a name. */
const OBJECTS: Readonly<Record<string, string>> = {
  "group-d1": objectContent("Folder", "group-d1", { name: text("Datacenters") }),
  "dc-1": objectContent("Datacenter", "dc-1", { name: text("dc"), parent: ref("Folder", "group-d1") }),
  "group-v1": objectContent("Folder", "group-v1", { name: text("vm"), parent: ref("Datacenter", "dc-1") }),
  "group-v2": objectContent("Folder", "group-v2", { name: text("team"), parent: ref("Folder", "group-v1") }),
  "vapp-1": objectContent("VirtualApp", "vapp-1", { name: text("shop"), parentFolder: ref("Folder", "group-v1") }),
};
const VMS: Readonly<Record<string, string>> = {
  "vm-1": objectContent("VirtualMachine", "vm-1", {
    name: text("web"),
    parent: ref("Folder", "group-v2"),
    "guest.hostName": text("Web.Example.Org"),
    "guest.net": NET,
    "runtime.powerState": text("poweredOn"),
  }),
  "vm-2": objectContent("VirtualMachine", "vm-2", { name: text("web"), parentVApp: ref("VirtualApp", "vapp-1") }),
  "vm-3": objectContent("VirtualMachine", "vm-3", { name: text("a%2fb"), parent: ref("Folder", "group-v1") }),
  "vm-4": objectContent("VirtualMachine", "vm-4", {
    name: text("vCLS-1"),
    parent: ref("Folder", "group-v1"),
    "config.managedBy": val(
      "ManagedByInfo",
      "<extensionKey>com.vmware.vim.eam</extensionKey><type>cluster-agent</type>",
    ),
  }),
};
const SCRIPT: Script = {
  CreateContainerView: () => '<returnval type="ContainerView">session[52c6]view</returnval>',
  DestroyView: () => "",
  FindByInventoryPath: () => "",
  FindAllByUuid: () =>
    '<returnval type="VirtualMachine">vm-1</returnval><returnval type="VirtualMachine">vm-2</returnval>',
  RetrievePropertiesEx: ({ body }) => {
    if (body.includes('type="ContainerView"')) return `<returnval>${Object.values(VMS).join("")}</returnval>`;
    const asked = [...body.matchAll(/<obj type="[^"]*">([^<]*)</g)].map(
      ([, id]) => ({ ...OBJECTS, ...VMS })[id ?? ""] ?? "",
    );
    return `<returnval>${asked.join("")}</returnval>`;
  },
};

await t.test("locators", async (t) => {
  await using vcenter = await startScriptedVcenter(SCRIPT);
  await using server = await connectScripted(vcenter);
  const cases: readonly (readonly [LocatorForm, readonly string[]])[] = [
    [{ kind: "name", name: "web" }, ["vm-2", "vm-1"]],
    [{ kind: "name", name: "a/b" }, ["vm-3"]],
    [{ kind: "name", name: "WEB" }, []],
    [{ kind: "path", path: ["dc", "team", "web"] }, ["vm-1"]],
    [{ kind: "path", path: ["dc", "shop", "web"] }, ["vm-2"]],
    [{ kind: "path", path: ["dc", "web"] }, ["vm-2", "vm-1"]],
    [{ kind: "path", path: ["other", "web"] }, []],
    [{ kind: "path", path: ["dc", "a/b"] }, ["vm-3"]],
    [{ kind: "path", path: [] }, []],
    [{ kind: "ipaddr", address: "192.0.2.7" }, ["vm-1"]],
    [{ kind: "ipaddr", address: "2001:db8::7" }, ["vm-1"]],
    [{ kind: "ipaddr", address: "web.example.org." }, ["vm-1"]],
    [{ kind: "ipaddr", address: "192.0.2.8" }, []],
    [{ kind: "uuid", uuid: "x" }, ["vm-2", "vm-1"]],
    [{ kind: "any" }, ["vm-3", "vm-2", "vm-1"]],
    [{ kind: "glob", pattern: "*" }, ["vm-3", "vm-2", "vm-1"]],
    [{ kind: "glob", pattern: "vCLS*" }, []],
    [{ kind: "name", name: "vCLS-1" }, ["vm-4"]],
    [{ kind: "powerstate", state: "on" }, ["vm-1"]],
  ];
  for (const [form, refs] of cases) {
    const found = await server.findVms(form, { signal });
    t.strictSame(
      found.map(({ ref }) => ref),
      refs,
      JSON.stringify(form),
    );
  }
  const [slash] = await server.findVms({ kind: "name", name: "a/b" }, { signal });
  t.match(slash, { name: "a/b", path: "/dc/a%2fb" });
});

/** /F/dc holds "old" and "prod" with "vm" in it; the server's search index knows paths. */
await t.test("a path names the VM that is shown there, or none", async (t) => {
  const places: Readonly<Record<string, string>> = {
    "F/dc/vm/old/web01": "vm-1",
    "F/dc/vm/prod/vm/web02": "vm-2",
    "F/dc/vm/web03": "vm-3",
    "F/dc/vm/old/web03": "vm-4",
  };
  const folder = (id: string, name: string, parent: string) =>
    objectContent("Folder", id, { name: text(name), parent: ref("Folder", parent) });
  const vm = (id: string, name: string, parent: string) =>
    objectContent("VirtualMachine", id, { name: text(name), parent: ref("Folder", parent) });
  const objects: Readonly<Record<string, string>> = {
    "group-d1": objectContent("Folder", "group-d1", { name: text("Datacenters") }),
    "group-f": folder("group-f", "F", "group-d1"),
    "dc-1": objectContent("Datacenter", "dc-1", { name: text("dc"), parent: ref("Folder", "group-f") }),
    "group-v1": objectContent("Folder", "group-v1", { name: text("vm"), parent: ref("Datacenter", "dc-1") }),
    "group-old": folder("group-old", "old", "group-v1"),
    "group-prod": folder("group-prod", "prod", "group-v1"),
    "group-odd": folder("group-odd", "vm", "group-prod"),
    "vm-1": vm("vm-1", "web01", "group-old"),
    "vm-2": vm("vm-2", "web02", "group-odd"),
    "vm-3": vm("vm-3", "web03", "group-v1"),
    "vm-4": vm("vm-4", "web03", "group-old"),
  };
  await using vcenter = await startScriptedVcenter({
    ...SCRIPT,
    FindByInventoryPath: ({ body }) => {
      const id = places[/<inventoryPath>([^<]*)</.exec(body)?.[1] ?? ""];
      return id === undefined ? "" : `<returnval type="VirtualMachine">${id}</returnval>`;
    },
    RetrievePropertiesEx: ({ body }) => {
      const all = Object.entries(objects).filter(([id]) => id.startsWith("vm-"));
      if (body.includes('type="ContainerView"')) return `<returnval>${all.map(([, vm]) => vm).join("")}</returnval>`;
      const asked = [...body.matchAll(/<obj type="[^"]*">([^<]*)</g)].map(([, id]) => objects[id ?? ""] ?? "");
      return `<returnval>${asked.join("")}</returnval>`;
    },
  });
  await using server = await connectScripted(vcenter);
  for (const [path, refs] of [
    ["/F/dc/old/web01", ["vm-1"]],
    ["/F/dc/vm/old/web01", ["vm-1"]],
    ["/F/dc/prod/web01", []],
    ["/F/dc/prod/vm/web01", []],
    ["/F/dc/web01", ["vm-1"]],
    ["/dc/web01", []],
    ["/F/web01", []],
    ["/web01", []],
    ["/F/dc/vm/web01", []],
    ["/F/dc/prod/web02", []],
    ["/F/dc/vm/prod/web02", []],
    ["/F/dc/prod/vm/web02", ["vm-2"]],
    ["/F/dc/vm/prod/vm/web02", ["vm-2"]],
    ["/F/dc/web03", ["vm-3"]],
    ["/F/dc/WEB01", []],
  ] as const) {
    const found = await server.findVms({ kind: "path", path: path.split("/").slice(1) }, { signal });
    t.strictSame(
      found.map(({ ref }) => ref),
      refs,
      path,
    );
  }
});

await t.test("a VM that vanishes between search and look is not found", async (t) => {
  await using vcenter = await startScriptedVcenter({
    ...SCRIPT,
    RetrievePropertiesEx: () => ({ fault: "ManagedObjectNotFound" }),
  });
  await using server = await connectScripted(vcenter);
  t.strictSame(await server.findVms({ kind: "uuid", uuid: "x" }, { signal }), []);
  t.strictSame(await server.findVms({ kind: "moref", id: "vm-9" }, { signal }), []);
});

await t.test("parents that form a circle end", async (t) => {
  const circle = objectContent("Folder", "group-v2", { name: text("team"), parent: ref("Folder", "group-v2") });
  await using vcenter = await startScriptedVcenter({
    ...SCRIPT,
    RetrievePropertiesEx: ({ body }) =>
      `<returnval>${body.includes(">group-v2<") ? circle : (VMS["vm-1"] ?? "")}</returnval>`,
  });
  await using server = await connectScripted(vcenter);
  t.equal((await server.findVms({ kind: "moref", id: "vm-1" }, { signal })).length, 1);
});

await t.test("globs", async (t) => {
  for (const [name, pattern, matches] of [
    ["web01", "web*", true],
    ["web01", "web?1", true],
    ["web01", "web?", false],
    ["web01", "*", true],
    ["", "*", true],
    ["", "?", false],
    ["a.c", "a.c", true],
    ["abc", "a.c", false],
    ["aXbXc", "a*b*c", true],
    ["😀", "?", true],
  ] as const) {
    t.equal(matchesGlob(name, pattern), matches, `${name} ~ ${pattern}`);
  }
  const letters = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 12 });
  const patterns = fc.string({ unit: fc.constantFrom("a", "b", "*", "?"), maxLength: 8 });
  const property = fc.property(letters, patterns, (name, pattern) => {
    const regex = new RegExp(`^${pattern.replaceAll("*", ".*").replaceAll("?", ".")}$`);
    return matchesGlob(name, pattern) === regex.test(name);
  });
  await holds(t, property, { runs: 500 });
  t.equal(matchesGlob("a".repeat(10_000), "*a".repeat(50) + "b"), false, "ends soon");
});

await t.test("addresses have one spelling", (t) => {
  t.equal(normalAddress("2001:DB8:0:0::7"), normalAddress("2001:db8::7"));
  t.equal(normalAddress("fe80::1%eth0"), normalAddress("fe80::1"));
  t.equal(normalAddress("192.0.2.1"), "192.0.2.1");
  t.end();
});
