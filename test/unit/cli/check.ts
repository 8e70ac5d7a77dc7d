import { join } from "node:path";
import t from "tap";
import { describeReport, failOf, reportJson } from "../../../src/cli/check.js";
import { fail, ok, skip, warn } from "../../../src/check/finding.js";
import { about, toReport } from "../../../src/check/report.js";
import { command } from "../../fixtures/cli/command.js";
import { age } from "../../fixtures/host/vm-folder.js";
import { writeFlatVm } from "../../fixtures/local/vm-files.js";
import { configIn } from "../../fixtures/mount/config.js";
import { scratch } from "../../fixtures/scratch.js";

void t.test("hostile text of a server stays in its cell", (t) => {
  const text = 'a "VM"\u001b[2J\nok  forged  line\u202e \u0007';
  const report = toReport([
    ...about({ kind: "vm", name: `/dc/${text}` }, [ok("a", text), warn("b", text, text)]),
    ...about({ kind: "server", name: "vc1" }, [
      fail("c", "space", text),
      fail("d", "auth", "no"),
      skip("e", "not asked"),
    ]),
  ]);
  const shown = describeReport(report);
  t.notMatch(shown, /[\u0000-\u0009\u000b-\u001f\u202e]/);
  t.equal(shown.split("\n").length, 12, "no text makes a line of its own");
  t.match(shown, /^WARN +b /m);
  t.match(shown, /\n1 ok, 1 warnings, 2 failed, 1 skipped$/);
  t.match(reportJson(report), { summary: { ok: 1, warn: 1, fail: 2, skip: 1, exit: "auth", exitCode: 77 } });
  t.throws(
    () => {
      failOf(report);
    },
    { exit: "auth", message: "2 of 5 checks failed, the gravest of them: no" },
  );
  t.doesNotThrow(() => {
    failOf(toReport([]));
  });
  t.end();
});

void t.test("a folder of VMs, and servers that are not there", async (t) => {
  const directory = scratch(t);
  const folder = join(directory, "vms");
  await writeFlatVm(join(folder, "web01"), "web01", new Uint8Array(512));
  await age(folder);
  configIn(
    directory,
    `[server.vms]\nurl = "dir://${folder}"\n[server.gone]\nurl = "https://127.0.0.1:1"\nuser = "u"\npassword = "secret"\n`,
  );
  const env = {
    VMMOUNT_CONFIG: join(directory, "config.toml"),
    VMMOUNT_STATE_DIR: join(directory, "state"),
    VMMOUNT_RUNTIME_DIR: join(directory, "run"),
    VMMOUNT_CACHE_DIR: join(directory, "cache"),
  };
  const check = async (...words: string[]) => {
    const answer = await command(["check", ...words, "--json"], { env });
    type Row = { id: string; state: string; subject: { name: string } };
    const parsed = (answer.out === "" ? { checks: [] } : JSON.parse(answer.out)) as { checks: Row[] };
    const states = (name: string) =>
      Object.fromEntries(
        parsed.checks.flatMap(({ id, state, subject }) => (subject.name === name ? [[id, state]] : [])),
      );
    return { ...answer, states };
  };
  const vm = await check("vms", "/web01");
  t.equal(vm.code, 0, vm.error?.message ?? "");
  t.strictSame(vm.states("vms"), { "server.login": "ok", "server.product": "ok" });
  t.match(vm.states("/web01"), { "vm.found": "ok", "vm.power": "ok", "vm.disk.scsi0-0": "ok", "vm.snapshot": "skip" });
  t.equal((await check("vms:/web01")).code, 0, "as a locator with its server");
  t.match(await check("vms", "/nobody"), { code: 66, error: { message: /the gravest of them/ } });
  const all = await check();
  t.equal(all.code, 68, "of the server that does not answer");
  t.strictSame(all.states("gone"), { "server.reach": "fail", "server.login": "skip" });
  t.equal(all.states("vms")["server.login"], "ok", "which does not keep the others from being asked");
  t.equal((await check("--user", "x")).code, 64, "one login is not for all servers");
  t.equal((await check("nonesuch", "/web01")).code, 64);
  t.match(await command(["doctor"], { env }), { code: 0, out: /host\.fuse/ });
});
