import t from "tap";
import { runMatrix } from "../../fixtures/faults/matrix.js";
import { vsphereServer } from "../../fixtures/faults/vsphere.js";

void t.test("every call of a job over vSphere meets every fault", (t) =>
  runMatrix(t, {
    name: "vSphere",
    start: vsphereServer,
    always: /CreateSnapshotEx_Task|RemoveSnapshot_Task/,
    commands: 3,
    sample: 10,
  }),
);
