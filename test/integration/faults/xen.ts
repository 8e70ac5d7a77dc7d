import t from "tap";
import { runMatrix } from "../../fixtures/faults/matrix.js";
import { xenServer } from "../../fixtures/faults/xen.js";

void t.test("every call of a job over a Xen pool meets every fault", (t) =>
  runMatrix(t, {
    name: "Xen",
    start: xenServer,
    always: /VM\.snapshot|VM\.destroy|VDI\.destroy/,
    commands: 3,
    sample: 10,
  }),
);
