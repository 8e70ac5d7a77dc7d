import t from "tap";
import { crashLoops } from "../fixtures/crash/loops.js";
import { xenSite } from "../fixtures/crash/xen-site.js";

await t.test("Xen: whoever dies, no snapshot is left behind", async (t) => {
  await crashLoops(t, await xenSite(t));
});
