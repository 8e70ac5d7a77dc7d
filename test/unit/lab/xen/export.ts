import { gunzipSync } from "node:zlib";
import { execFileSync } from "node:child_process";
import t from "tap";
import { PoolClient } from "../../../fixtures/xen/pool-client.js";
import { testPool } from "../../../fixtures/xen/lab-pool.js";

void t.test("an export is an archive whose task tells how it ended", async (t) => {
  const { lab } = await testPool(t, { profile: "8.3" });
  const client = await PoolClient.login(lab);
  const { ref } = lab.vm("cold01");
  const first = await client.getWithTask("/export", { ref });
  t.equal(first.task.status, "success", first.task.error_info.join());
  t.equal(first.status, 200);
  t.equal(first.httpVersion, "1.0");
  t.equal(first.headers["content-length"], undefined);
  const names = execFileSync("tar", ["-t"], { input: first.body, maxBuffer: 1e8 }).toString().split("\n");
  t.equal(names[0], "ova.xml");
  t.match(names[1], /^Ref:\d+\/00000000$/);
  const second = await client.get("/export/", { uuid: lab.vm("cold01").uuid, use_compression: "gzip" });
  const again = execFileSync("tar", ["-t"], { input: gunzipSync(second.body), maxBuffer: 1e8 })
    .toString()
    .split("\n");
  t.not(again[1], names[1], "ids grow from export to export");

  const imported = await client.putWithTask("/import", {}, first.body);
  t.equal(imported.status, "success", imported.error_info.join());
  t.match(imported.result, /<value><array><data><value>OpaqueRef:/);
  t.equal(imported.other_config["object_creation"], "complete");
});
