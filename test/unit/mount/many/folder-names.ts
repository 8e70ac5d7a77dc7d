import t from "tap";
import type { VmIdentity } from "../../../../src/hypervisor.js";
import { folderNames } from "../../../../src/mount/many/folder-names.js";
import { memoryVm } from "../../../fixtures/memory-hypervisor.js";

function named(name: string, instanceUuid: string | undefined, ref = "vm-1"): VmIdentity {
  return { ...memoryVm({ name, ref }).description.identity, instanceUuid };
}

const UUID_A = "5011aaaa-0000-0000-0000-000000000001";
const UUID_B = "5011bbbb-0000-0000-0000-000000000002";

void t.test("a name that is safe already stays, others are made safe", (t) => {
  const names = ["web01", "a b", "Größe 猫", "a/b", "..", ".hidden", "-rf", "a\nb\u202ec", "\ud800x", ""];
  const folders = folderNames(names.map((name, index) => named(name, `${index}${UUID_A.slice(1)}`)));
  t.same(folders, ["web01", "a b", "Größe 猫", "a_b", "_.", "_hidden", "_rf", "a_b_c", "_x", "_"]);
  t.end();
});

void t.test("two of a name get their UUIDs, whichever comes first", (t) => {
  t.same(folderNames([named("web", UUID_A), named("web", UUID_B)]), ["web-5011aaaa", "web-5011bbbb"]);
  t.same(folderNames([named("web", UUID_B), named("web", UUID_A)]), ["web-5011bbbb", "web-5011aaaa"]);
  t.same(folderNames([named("WEB", UUID_A), named("web", UUID_B)]), ["WEB-5011aaaa", "web-5011bbbb"]);
  t.same(folderNames([named("a/b", UUID_A), named("a_b", UUID_B)]), ["a_b-5011aaaa", "a_b-5011bbbb"]);
  t.same(folderNames([named("u\u0308", UUID_A), named("\u00fc", UUID_B)]).length, 2);
  t.same(folderNames([named("web", undefined, "vm-7"), named("web", undefined, "vm-8")]), ["web-vm-7", "web-vm-8"]);
  t.end();
});

void t.test("names never collide and always fit, whatever they are", (t) => {
  const long = "x".repeat(300);
  const vms = [named(long, UUID_A), named(long, UUID_B), named("web-5011aaaa", UUID_B), named("web", UUID_A)];
  vms.push(named("web", UUID_A, "vm-2"), named("猫".repeat(200), UUID_A));
  const folders = folderNames(vms);
  t.equal(new Set(folders.map((name) => name.toLowerCase())).size, vms.length);
  for (const name of folders) {
    t.ok(Buffer.byteLength(name) <= 255, name);
    t.notMatch(name, /[/\u0000\ufffd]/);
  }
  t.end();
});
