import t from "tap";
import { checkDump } from "../../../src/xen/pool-sources/database-dump.js";

const HEAD =
  '<?xml version="1.0"?>\n<database><manifest><pair key="schema_major_vsn" value="5"/></manifest><table name="VM">';
const TAIL = '<row ref="OpaqueRef:1"/></table></database>\n';

void t.test("a dump of the pool's database is whole, or refused", (t) => {
  checkDump({ head: HEAD, tail: TAIL, size: 400_000 });
  checkDump({ head: HEAD.replace(/^.*\n/, ""), tail: TAIL, size: 400_000 });
  const cases: [Parameters<typeof checkDump>[0], RegExp][] = [
    [{ head: "HTTP/1.1 500 Internal Error", tail: "</html>", size: 400_000 }, /does not begin like one/],
    [{ head: "", tail: "", size: 0 }, /does not begin like one/],
    [{ head: HEAD, tail: '<row ref="Opaq', size: 400_000 }, /its end is missing/],
    [
      { head: "<database><manifest></manifest></database>", tail: "</database>", size: 300 },
      /holds nothing \(300 bytes\)/,
    ],
  ];
  for (const [dump, message] of cases)
    t.throws(
      () => {
        checkDump(dump);
      },
      { name: "IntegrityError", message },
    );
  t.end();
});
