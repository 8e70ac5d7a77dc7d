import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { requestBuffers, requestBuffersOf } from "../../../src/vddk/request-buffers.js";
import { scratch } from "../../fixtures/scratch.js";

await t.test("the number of buffers is what the configuration says", (t) => {
  const name = "vixDiskLib.nfcAio.Session.BufCount";
  for (const [text, count] of [
    ["", 4],
    ['tmpDirectory="/var/tmp"\n', 4],
    [`${name}=8\n`, 8],
    [`tmpDirectory="/x"\r\n  ${name} = "6" \r\nvixDiskLib.nfc.LogLevel=1\r\n`, 6],
    [`${name}=8\n${name}=2`, 2],
    [`${name.toUpperCase()}=3`, 3],
    [`#${name}=8\n`, 4],
    [`${name}=x\n`, 4],
    [`${name}=0\n`, 1],
    [`${name}=64\n`, 16],
  ] as const) {
    t.equal(requestBuffers(text), count, JSON.stringify(text));
  }
  t.end();
});

await t.test("no file, and one that cannot be read, are the library's own default", async (t) => {
  const path = join(scratch(t), "vddk.conf");
  t.equal(await requestBuffersOf(undefined), 4);
  t.equal(await requestBuffersOf(path), 4);
  writeFileSync(path, "vixDiskLib.nfcAio.Session.BufCount=7\n");
  t.equal(await requestBuffersOf(path), 7);
});

await t.test("nobody waits for a pipe, or for the end of a device", { timeout: 5_000 }, async (t) => {
  const path = join(scratch(t), "pipe");
  spawnSync("mkfifo", [path]);
  t.equal(await requestBuffersOf(path), 4);
  const before = process.memoryUsage().rss;
  t.equal(await requestBuffersOf("/dev/zero"), 4);
  t.ok(process.memoryUsage().rss - before < 64 * 1024 * 1024);
});
