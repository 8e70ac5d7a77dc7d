import { appendFile } from "node:fs/promises";
import t, { type Test } from "tap";
import type { GcReport } from "../../../src/gc/report.js";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { type Ended, PROGRAM, run } from "../../fixtures/host/command-line.js";
import { labDirectory, labIn } from "../../fixtures/host/lab-host.js";
import { addMachine } from "../../fixtures/host/lab-machine.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { checkRefusal, lastLine, nothingLeft, refused } from "../../fixtures/host/refusals.js";
import { until } from "../../fixtures/host/until.js";

/** What people, timers and programs see of `vmmount gc`. */
const directory = await labDirectory(t);
await addMachine(directory, { folder: "tiny" });
const lab = await labIn(t, directory);

interface Answer extends GcReport {
  readonly summary: Readonly<Record<string, number>>;
}

/** Columns are two spaces or more apart. */
function cells(stdout: string): string[][] {
  return stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.split(/ {2,}/));
}

/** A mount whose daemon was killed. @returns its session */
async function deadMount(t: Test, host: ProxyHost): Promise<string> {
  const { pid, session } = await host.json<SessionStatus>(["mount", "name:tiny", host.mountPoint]);
  process.kill(pid, "SIGKILL");
  await until("the daemon is gone", async () => (await host.daemons()).length === 0);
  t.teardown(async () => {
    lab.rules.clear();
    await host.vmmount(["gc", "--yes"]);
    // A killed process cannot log out.
    lab.expireSessions();
  });
  return session;
}

async function isClean(t: Test, host: ProxyHost): Promise<void> {
  lab.expireSessions();
  await nothingLeft(t, host, lab);
}

void t.test("nothing is left: one sentence, exit 0", async (t) => {
  const host = await ProxyHost.make(t, lab);
  t.match(await host.vmmount(["gc"]), { code: 0, stdout: "Nothing is left behind\n", stderr: "" });
  const summary = { removed: 0, wouldRemove: 0, left: 0, failed: 0, unasked: 0, exitCode: 0 };
  t.same(await host.json(["gc"]), { dryRun: false, rows: [], summary });
});

void t.test("a dry run tells what the run then does", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const session = await deadMount(t, host);
  const dry = await host.vmmount(["gc", "--dry-run"]);
  t.equal(dry.code, 76, dry.stderr);
  t.match(lastLine(dry.stderr), new RegExp(`^vmmount: Something would be removed: ${session} of /dc1/tiny.*dry-run`));
  t.same(cells(dry.stdout)[0], ["ACTION", "WHAT", "SERVER", "VM", "NAME", "AGE", "WHY"]);
  t.match(cells(dry.stdout)[1], ["would remove", "session", "lab", "/dc1/tiny", session, "0 min", /daemon.* is gone/]);
  t.equal(lab.vm("tiny").snapshots.length, 1, "nothing was changed");
  t.same(await host.journals(), [`${session}.journal`]);

  const young = await host.vmmount(["gc", "--older-than", "1h"]);
  t.equal(young.code, 0, "what is meant to stay is no failure");
  t.match(cells(young.stdout)[1], ["left", "session", "lab", "/dc1/tiny", session, "0 min", /younger/]);
  t.equal(lab.vm("tiny").snapshots.length, 1);

  const answer = await host.json<Answer>(["gc"]);
  t.match(answer, {
    dryRun: false,
    rows: [
      { kind: "session", server: "lab", vm: "/dc1/tiny", name: session, class: "dead-session", action: "removed" },
    ],
    summary: { removed: 1, exitCode: 0 },
  });
  t.equal(answer.rows.length, 1, "its snapshot is not told again");
  await isClean(t, host);
  t.equal((await host.vmmount(["gc"])).stdout, "Nothing is left behind\n", "twice is harmless");
});

void t.test("a server that cannot be asked does not hide the others", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const session = await deadMount(t, host);
  await appendFile(
    host.configPath,
    `\n[server.gone]\nurl = "https://127.0.0.1:1"\nuser = "u"\npassword_file = "${lab.passwordPath}"\n`,
  );
  const ended = await host.vmmount(["gc"]);
  t.equal(ended.code, 81, ended.stderr);
  t.match(lastLine(ended.stderr), /^vmmount: Some servers could not be asked: gone\. /);
  const [, ...rows] = cells(ended.stdout);
  t.match(
    rows.find(([action]) => action === "removed"),
    ["removed", "session", "lab", "/dc1/tiny", session],
  );
  t.match(rows.find(([action]) => action === "NOT ASKED")?.join(" "), /^NOT ASKED server gone .*ECONNREFUSED|refused/);
  t.equal(rows.at(-1)?.[0], "1 removed, 1 not asked");
  t.equal((await host.vmmount(["gc", "lab"])).code, 0, "only the one that is named");
  await refused(t, host, ["gc", "nosuch"], { exit: "usage", says: /nosuch/ });
  await isClean(t, host);
});

void t.test("what cannot be removed is named, stays in the journal, and goes the next time", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const session = await deadMount(t, host);
  lab.rules.add({
    match: { method: "RemoveSnapshot_Task" },
    action: { kind: "fault", name: "InvalidState", where: "task" },
  });
  const ended = await host.vmmount(["gc", "--yes"]);
  t.equal(ended.code, 76, ended.stderr);
  t.match(lastLine(ended.stderr), new RegExp(`^vmmount: Something is left: ${session} of /dc1/tiny`));
  t.match(cells(ended.stdout)[1]?.slice(0, 5), ["FAILED", "session", "lab", "/dc1/tiny", session]);
  t.same(await host.journals(), [`${session}.journal`]);
  lab.rules.clear();
  t.equal((await host.vmmount(["gc", "--yes"])).code, 0);
  await isClean(t, host);
});

void t.test("two at once: the second one says so", async (t) => {
  const host = await ProxyHost.make(t, lab);
  await deadMount(t, host);
  lab.rules.add({ match: { method: "RemoveSnapshot_Task" }, count: 1, action: { kind: "hold", when: "before" } });
  const first = host.vmmount(["gc"]);
  await lab.rules.holds.someone(AbortSignal.timeout(30_000));
  await refused(t, host, ["gc"], { exit: "busy", says: /another vmmount gc is at work/ });
  const dry = await host.vmmount(["gc", "--dry-run"]);
  t.match(
    [dry.code, dry.stdout],
    [0, /\nleft +snapshot .*a mount of this host uses it/],
    "looking is free, and the session is not dead while somebody sees to it",
  );
  lab.rules.holds.letGo();
  t.equal((await first).code, 0);
  await isClean(t, host);
});

void t.test("a person is asked once, and may say no", async (t) => {
  const host = await ProxyHost.make(t, lab);
  await deadMount(t, host);
  /** Everything that comes to the terminal is in stdout, with carriage returns. */
  const onTerminal = async (words: string, input: string): Promise<Ended> => {
    const command = `'${process.execPath}' '${PROGRAM}' ${words}`;
    const ended = await run("script", ["--quiet", "--return", "--command", command, "/dev/null"], {
      env: { VMMOUNT_CONFIG: host.configPath, NO_COLOR: "1" },
      input,
    });
    return { ...ended, stdout: ended.stdout.replaceAll("\r", "") };
  };
  for (const no of ["n\n", "\n", "what?\n"]) {
    const ended = await onTerminal("gc", no);
    t.match(ended.stdout, /Clean up 1 leftover\? \[y\/N\]/);
    checkRefusal(
      t,
      { ...ended, stderr: `${lastLine(ended.stdout)}\n`, stdout: "" },
      { exit: "refused", says: /not confirmed.*--yes/ },
    );
    t.equal(lab.vm("tiny").snapshots.length, 1);
  }
  const yes = await onTerminal("gc", "yes\n");
  t.equal(yes.code, 0, yes.stdout);
  t.match(yes.stdout, /1 removed/);
  await isClean(t, host);
  const clean = await onTerminal("gc", "");
  t.match(clean, { code: 0, stdout: /Nothing is left behind/ }, "nobody is asked about nothing");
});
