import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { NbdkitService } from "../../../src/vddk/nbdkit-service.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { scratch } from "../../fixtures/scratch.js";

/** @param script the program that is found as nbdkit; none when undefined */
async function start(t: Test, script?: string): Promise<{ service: NbdkitService; folder: string }> {
  const folder = scratch(t);
  if (script !== undefined) {
    await writeFile(join(folder, "nbdkit"), `#!/bin/sh\n${script}\n`);
    await chmod(join(folder, "nbdkit"), 0o755);
  }
  const { PATH: before } = process.env;
  t.teardown(() => {
    process.env["PATH"] = before;
  });
  process.env["PATH"] = script === undefined ? folder : `${folder}:${before ?? ""}`;
  const service = await NbdkitService.start({
    library: { root: "/vddk", lib64: "/vddk/lib64", main: "", plugin: "", version: "8.0.0" },
    configFile: undefined,
    login: { host: "vc.example", port: 443, user: "u", password: "p", thumbprint: "00", vm: "vm-1" },
    runtimeDir: scratch(t),
    program: "",
    logger: recordingLogger().logger,
    stallMs: 10_000,
    allocation: "auto",
  });
  t.teardown(() => service[Symbol.asyncDispose]());
  return { service, folder };
}

void t.test("a machine without nbdkit, and one whose nbdkit has no such plugin", async (t) => {
  await t.rejects(start(t), { name: "MissingCapabilityError", message: /it is not installed/ });
  const hint = /Leave vddk\.host out.*Debian's nbdkit has no VDDK plugin/;
  await t.rejects(start(t, "exit 1"), { name: "MissingCapabilityError", message: /it has no VDDK plugin/, hint });
});

void t.test("one that does not come up is started once: each start is a login", async (t) => {
  const script = `[ "$2" = --dump-plugin ] && exit 0
echo start >>"$(dirname "$0")/starts"
echo "nbdkit: error: cannot do it" >&2
exit 1`;
  const { service, folder } = await start(t, script);
  const request = { name: "scsi0-0", path: "[ds1] vm/vm.vmdk", mode: "nbdssl", snapshot: undefined };
  const opening = service.open(request, { signal: new AbortController().signal, otherwise: "nothing" });
  await t.rejects(opening, { name: "DiskIoError", message: /through nbdkit/ });
  await sleep(1_000);
  t.equal(await readFile(join(folder, "starts"), "utf8"), "start\n");
});
