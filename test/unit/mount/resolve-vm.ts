import t from "tap";
import type { VmmountError } from "../../../src/errors.js";
import { parseLocator } from "../../../src/locator.js";
import { resolveVm } from "../../../src/mount/resolve-vm.js";
import { MemoryServer, memoryVm } from "../../fixtures/memory-hypervisor.js";
import { failureOf } from "../../fixtures/snapshot-session.js";

const { signal } = new AbortController();

function vm(number: number, name: string, path: string) {
  const biosUuid = "42110000-0000-0000-0000-000000000001";
  const instanceUuid = `5011000${number % 10}-0000-0000-0000-0000000000${String(number).padStart(2, "0")}`;
  return memoryVm({ ref: `vm-${number}`, name, path, biosUuid, instanceUuid, addresses: [] });
}

const SERVER = new MemoryServer([
  vm(1, "web01", "/dc/web01"),
  vm(2, "web01", "/dc/test/web01"),
  vm(3, "db\u001b[31m", "/dc/db\u001b[31m"),
  ...Array.from({ length: 12 }, (_, i) => vm(10 + i, "node", `/dc/n${i}/node`)),
]);

async function resolve(text: string): Promise<string> {
  const found = await resolveVm(await SERVER.connect(), parseLocator(text, new Set()), { signal });
  return found.path;
}

function failure(text: string): Promise<VmmountError> {
  return failureOf(resolve(text));
}

void t.test("resolveVm() gives the one VM that matches", async (t) => {
  t.equal(await resolve("/dc/test/web01"), "/dc/test/web01");
  t.equal(await resolve("moref:vm-1"), "/dc/web01");
});

void t.test("resolveVm() never guesses between several, and names them", async (t) => {
  t.match(await failure("name:web01"), {
    name: "AmbiguousError",
    exitCode: 67,
    message: /"name:web01" matches 2 on https:/,
    hint: /\/dc\/test\/web01 \(instanceuuid:50110002-.*\); \/dc\/web01 \(instanceuuid:50110001-/,
  });
  t.match(await failure("name:node"), { hint: /… and 2 more$/ });
  t.match(await failure("any:"), { message: /matches 15/ });
});

void t.test("resolveVm() names what comes close", async (t) => {
  t.match(await failure("web02"), {
    name: "NotFoundError",
    exitCode: 66,
    hint: "Close names: /dc/test/web01, /dc/web01",
  });
  t.match(await failure("/dc/other/web1"), { hint: "Close names: /dc/test/web01, /dc/web01" });
  t.match(await failure("glob:nod"), { hint: /Close names: \/dc\/n0\/node/ });
  t.match(
    await failure("name:dbx[31m"),
    { hint: "Close names: /dc/db\\u001b[31m" },
    "no control character gets through",
  );
  t.match(await failure("name:zzzzzzzzzz"), { hint: /vmmount find any:/ });
  t.match(await failure("ipaddr:192.0.2.1"), { message: /no running guest reports/, hint: /powered-off VM/ });
  t.match(await failure("moref:vm-99"), { message: /Cannot find VM "moref:vm-99" on https:/, hint: undefined });
});
