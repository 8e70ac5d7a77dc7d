import t from "tap";
import { parseLocator } from "../../../../src/locator.js";
import { exactly, findEvery, namesSeveral } from "../../../../src/mount/many/several-vms.js";
import { MemoryServer, memoryVm } from "../../../fixtures/memory-hypervisor.js";

const { signal } = new AbortController();
const form = (text: string): ReturnType<typeof parseLocator>["form"] => parseLocator(text, new Set()).form;

void t.test("which locators name any number of VMs", (t) => {
  for (const text of ["glob:web01", "any:", "powerstate:on", "/dc/*", "/dc/web?", "/dc*/web"])
    t.ok(namesSeveral(form(text)), text);
  for (const text of ["/dc/web", "name:a*", "web*", "moref:vm-1", "uuid:5011aaaa-0000-0000-0000-000000000001"]) {
    t.notOk(namesSeveral(form(text)), text);
  }
  t.end();
});

void t.test("a star of a path stays within its folder", async (t) => {
  const paths = ["/dc/web01", "/dc/web02", "/dc/db", "/dc/old/web03", "/dc/a%2fb"];
  const server = new MemoryServer(paths.map((path, index) => memoryVm({ path, ref: `vm-${index}`, name: path })));
  await using hypervisor = await server.connect();
  const found = async (text: string): Promise<string[]> =>
    (await findEvery(hypervisor, form(text), { signal })).map(({ path }) => path);
  t.same(await found("/dc/web*"), ["/dc/web01", "/dc/web02"]);
  t.same(await found("/*/old/*"), ["/dc/old/web03"]);
  t.same(await found("/dc/a?b"), ["/dc/a%2fb"], "an escaped character is one");
  t.same((await found("any:")).length, 5);
  t.same(await found("/dc/x*"), []);
});

void t.test("each VM is named so that no other is meant", (t) => {
  const vm = memoryVm({ path: "/a%2fb/*", ref: "vm-3" }).description.identity;
  t.same(exactly("vsphere", vm), { form: { kind: "moref", id: "vm-3" }, text: "moref:vm-3" });
  t.same(exactly("dir", vm), { form: { kind: "path", path: ["a/b", "*"] }, text: "/a%2fb/*" });
  t.end();
});
