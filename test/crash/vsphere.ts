import t from "tap";
import { crashLoops } from "../fixtures/crash/loops.js";
import { vsphereSite } from "../fixtures/crash/vsphere-site.js";

await t.test("vSphere: whoever dies, no snapshot is left behind", async (t) => {
  await crashLoops(t, await vsphereSite(t));
});
