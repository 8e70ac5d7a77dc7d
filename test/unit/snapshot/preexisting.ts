import t from "tap";
import type { Snapshot } from "../../../src/hypervisor.js";
import { judgePreexisting, type PreexistingRules, type Verdict } from "../../../src/snapshot/preexisting.js";
import type { SnapshotClass } from "../../../src/snapshot/snapshot-class.js";

const SNAPSHOT: Snapshot = {
  ref: "snapshot-1",
  name: "x",
  description: "",
  createdAt: new Date(0),
  quiesced: false,
  depth: 1,
};

type Rule = PreexistingRules["rule"];
type Act = Verdict["act"];

/** Per class: what each rule makes of it, and what `any_owner` makes of the rule delete. */
const TABLE: Record<SnapshotClass, Record<Rule | "delete any owner", Act>> = {
  user: { fail: "ignore", "delete-own": "ignore", delete: "ignore", "delete any owner": "ignore" },
  unknown: { fail: "refuse", "delete-own": "refuse", delete: "refuse", "delete any owner": "remove" },
  live: { fail: "refuse", "delete-own": "refuse", delete: "refuse", "delete any owner": "refuse" },
  "foreign-host": { fail: "refuse", "delete-own": "warn", delete: "remove", "delete any owner": "remove" },
  kept: { fail: "refuse", "delete-own": "remove", delete: "remove", "delete any owner": "remove" },
  expired: { fail: "refuse", "delete-own": "remove", delete: "remove", "delete any owner": "remove" },
  "dead-local": { fail: "refuse", "delete-own": "remove", delete: "remove", "delete any owner": "remove" },
};

void t.test("judgePreexisting(): the whole table", (t) => {
  for (const [kind, row] of Object.entries(TABLE) as [SnapshotClass, (typeof TABLE)[SnapshotClass]][]) {
    for (const [column, expected] of Object.entries(row)) {
      const anyOwner = column === "delete any owner";
      const rule = anyOwner ? "delete" : (column as Rule);
      const classified = { class: kind, mark: undefined, isPastMaxAge: false };
      for (const policy of ["automatic", "createonly"] as const) {
        const { act } = judgePreexisting(SNAPSHOT, classified, { policy, rule, anyOwner });
        t.equal(act, expected, `${kind}, ${column}, ${policy}`);
      }
      for (const policy of ["manual", "deleteonly"] as const) {
        const { act } = judgePreexisting(SNAPSHOT, classified, { policy, rule, anyOwner });
        t.equal(act, "ignore", `${kind}, ${column}, ${policy}: it makes no snapshot`);
      }
    }
  }
  t.end();
});
