import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import t from "tap";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { run } from "../../fixtures/host/command-line.js";
import { labDirectory } from "../../fixtures/host/lab-host.js";
import { addMachine } from "../../fixtures/host/lab-machine.js";
import { LabProcess } from "../../fixtures/host/lab-process.js";
import { NOTHING_LEFT, ProxyHost } from "../../fixtures/host/proxy-host.js";
import { checkRefusal, lastLine } from "../../fixtures/host/refusals.js";

/** The server is away when the backup is done: the mount goes, the journal keeps the rest for gc. */
const directory = await labDirectory(t);
await addMachine(directory, { folder: "tiny" });

interface GcAnswer {
  readonly rows: readonly { readonly kind: string; readonly name: string; readonly action: string }[];
  readonly summary: { readonly exitCode: number };
}

async function unreachable(end: (host: ProxyHost, pid: number) => Promise<void>): Promise<void> {
  const lab = await LabProcess.start(t, directory);
  const host = await ProxyHost.make(t, lab.server);
  const { session, pid } = await host.json<SessionStatus>(["mount", "name:tiny", host.mountPoint]);
  lab.signal("SIGKILL");
  await lab.ended();
  await end(host, pid);
  t.same(await host.leftovers(), { ...NOTHING_LEFT, journals: [`${session}.journal`] }, "the mount point is free");

  const away = await host.vmmount(["gc", "--yes", "--json"]);
  t.equal(away.code, 76, away.stderr);
  const { rows } = JSON.parse(away.stdout) as GcAnswer;
  t.match(rows, [
    { kind: "session", name: session, action: "failed", reason: /connection refused/i },
    { kind: "server", name: "lab", action: "unasked" },
  ]);
  t.match(lastLine(away.stderr), new RegExp(`${session}.*Run it again`));
  t.same(await host.journals(), [`${session}.journal`]);

  const back = await LabProcess.start(t, directory, `127.0.0.1:${new URL(lab.facts.url).port}`);
  t.same(await back.snapshots("tiny"), [`vmmount-${session}`]);
  const gc = await host.vmmount(["gc", "--yes"]);
  t.equal(gc.code, 0, gc.stdout + gc.stderr);
  t.match(gc.stdout, new RegExp(`removed +session.*${session}`));
  t.same(await back.snapshots("tiny"), []);
  t.same(await host.leftovers(), NOTHING_LEFT);
  back.signal("SIGTERM");
  await back.ended();
}

await t.test("vmmount umount: 76, and what is left and what to do", async (t) => {
  await unreachable(async (host) => {
    checkRefusal(t, await host.vmmount(["umount", host.mountPoint]), {
      exit: "leftover",
      says: [/snapshot "vmmount-\w{10}"/i, /"vmmount umount \w{10}" or "vmmount gc"/],
    });
  });
});

await t.test("umount(8), with nobody to be told: the journal knows", async (t) => {
  await unreachable(async (host, pid) => {
    t.equal((await run("umount", [host.mountPoint])).code, 0);
    for (let waits = 0; waits < 400 && (await host.daemons()).length > 0; waits++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    t.same(await host.daemons(), [], `process ${pid} has ended`);
    t.match(await host.json(["status"]), { sessions: [{ alive: false, state: "leftover" }] });
  });
});

await t.test("the units of the timer that runs gc", async (t) => {
  const units = ["service", "timer"].map((kind) =>
    fileURLToPath(new URL(`../../../scripts/systemd/vmmount-gc.${kind}`, import.meta.url)),
  );
  const [service = "", timer = ""] = await Promise.all(units.map((path) => readFile(path, "utf8")));
  t.match(service, /^Type=oneshot$/m);
  t.match(service, /^ExecStart=\S+\/vmmount gc --yes --quiet$/m);
  t.match(timer, /^OnBootSec=/m);
  t.match(timer, /^OnCalendar=/m);
  t.match(timer, /^WantedBy=timers\.target$/m);
  const analyze = spawn("systemd-analyze", ["verify", "--man=no", ...units], { stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  analyze.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
  const [code] = (await Promise.race([once(analyze, "close"), once(analyze, "error")])) as [number | Error];
  if (typeof code !== "number") {
    t.comment("there is no systemd-analyze here: only parsed");
    return;
  }
  // The program is not installed where the unit runs it.
  const mistakes = said.split("\n").filter((line) => line.includes("vmmount") && !line.includes("is not executable"));
  t.same(mistakes, []);
});
