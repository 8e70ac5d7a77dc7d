import t from "tap";
import { loadConfig } from "../../../src/config.js";
import type { SessionEntry } from "../../../src/mount/session-list.js";
import { sessionsOfVm } from "../../../src/mount/sessions-of-vm.js";
import { sessionFacts } from "../../fixtures/snapshot-facts.js";

const config = loadConfig({ file: "/dev/null", env: {}, flags: [] });
const UUID = "50112233-4455-6677-8899-aabbccddeeff";

function entry(id: string, vm: { name: string; path: string; ref: string }): SessionEntry {
  const facts = sessionFacts({ vm: { ...vm, instanceUuid: UUID } });
  return { id, facts, records: [], isLive: true, startedAt: undefined, damage: undefined };
}

const SESSIONS = [
  entry("a", { name: "web01", path: "/dc/web01", ref: "vm-1" }),
  entry("b", { name: "a/b", path: "/dc/a%2fb", ref: "vm-2" }),
  { ...entry("c", { name: "x", path: "/x", ref: "vm-3" }), facts: undefined },
];

void t.test("a VM is known by what its journal says of it", (t) => {
  const found = (text: string): string[] => sessionsOfVm(text, SESSIONS, config).map(({ id }) => id);
  t.strictSame(found("/dc/web01"), ["a"]);
  t.strictSame(found("web01"), ["a"]);
  t.strictSame(found("name:a/b"), ["b"]);
  t.strictSame(found("/dc/a%2Fb"), ["b"]);
  t.strictSame(found("moref:vm-2"), ["b"]);
  t.strictSame(found(`instanceuuid:${UUID}`), ["a", "b"]);
  for (const none of ["/", "/dc", "WEB01", "glob:*", "any:", "ipaddr:web01", "", "a\nb", "x"]) {
    t.strictSame(found(none), [], none);
  }
  t.end();
});
