import t from "tap";
import { parseLocator } from "../../src/locator.js";
import { poolSourceOf, poolSourcePath } from "../../src/pool-source.js";

const NONE = new Set<string>();

void t.test("SEP sesam's words name what a pool keeps about itself; other paths name VMs", (t) => {
  const cases: [string, ReturnType<typeof poolSourceOf>][] = [
    ["/meta-data", { kind: "meta-data" }],
    ["/host-backup", { kind: "host-backup", host: undefined }],
    ["/host-backup/xen%2f1", { kind: "host-backup", host: "xen/1" }],
    ["/web01", undefined],
    ["name:meta-data", undefined],
  ];
  for (const [text, source] of cases) t.strictSame(poolSourceOf(parseLocator(text, NONE).form), source, text);
  for (const text of ["/meta-data/x", "/host-backup/a/b"]) {
    t.throws(() => poolSourceOf(parseLocator(text, NONE).form), { name: "UsageError", message: /host-backup\/HOST/ });
  }
  t.equal(poolSourcePath({ kind: "host-backup", host: "xen03" }), "/host-backup/xen03");
  t.equal(poolSourcePath({ kind: "meta-data" }), "/meta-data");
  t.end();
});
