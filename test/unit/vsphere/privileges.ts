import { readFileSync } from "node:fs";
import t from "tap";
import { NEEDED_PRIVILEGES } from "../../../src/vsphere/privileges.js";

void t.test("the operator's manual lists every privilege that is asked for", (t) => {
  const manual = readFileSync(new URL("../../../docs/OPERATIONS.md", import.meta.url), "utf8");
  for (const { name } of NEEDED_PRIVILEGES) t.ok(manual.includes(name), name);
  t.end();
});
