import { spawn } from "node:child_process";
import { once } from "node:events";
import t from "tap";
import { isDying } from "../../../../src/fs/fuse/dying-reader.js";

void t.test("a living process is not dying, a dead one is, an unknown one is not", async (t) => {
  t.equal(await isDying(process.pid), false);
  t.equal(await isDying(0), false);
  const child = spawn("true", { stdio: "ignore" });
  const pid = child.pid ?? 0;
  await once(child, "exit");
  t.equal(await isDying(pid), true);
});
