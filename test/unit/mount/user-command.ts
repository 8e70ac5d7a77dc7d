import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { runUserCommand, type UserCommand } from "../../../src/mount/user-command.js";

/** Runs a command and gives its outcome with what it said. */
async function tried(
  command: string,
  own: Partial<UserCommand> = {},
): Promise<{ failure: string | undefined; lines: string[]; ms: number }> {
  const lines: string[] = [];
  const began = performance.now();
  const failure = await runUserCommand({
    command,
    words: [],
    env: {},
    timeoutMs: 10_000,
    signal: new AbortController().signal,
    onLine: (line) => lines.push(line),
    ...own,
  });
  return { failure, lines, ms: performance.now() - began };
}

/** A zombie, which nobody has asked for its outcome yet, counts as gone. */
async function isGone(pid: number): Promise<boolean> {
  const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "State:\tZ");
  return /^State:\tZ/m.test(status);
}

void t.test("the shell reads the command; values from outside are environment and words only", async (t) => {
  const name = `$(touch ${join(t.testdir({}), "pwned")}) "quoted" 'too' ; exit 9 # \u00fc`;
  const { failure, lines } = await tried('printf "%s\\n%s\\n" "$VMMOUNT_VM_NAME" "$1"; echo "and stderr" >&2', {
    env: { VMMOUNT_VM_NAME: name, ABSENT: undefined, ZERO: "a\0b" },
    words: [name],
  });
  t.equal(failure, undefined);
  t.same(lines.filter((line) => line === name).length, 2, "neither is read by the shell");
  t.ok(lines.includes("and stderr"));
});

void t.test("a command has nothing on stdin, a group of its own, and no way to passwords", async (t) => {
  process.env["VMMOUNT_PASSWORD_FILE"] = "/etc/secret";
  t.teardown(() => delete process.env["VMMOUNT_PASSWORD_FILE"]);
  const { lines } = await tried('cat; echo "group $(ps -o pgid= -p $$ | tr -d " ") of $$"; env');
  const [, group, pid] = /^group (\d+) of (\d+)$/m.exec(lines.join("\n")) ?? [];
  t.ok(group);
  t.equal(group, pid);
  t.notMatch(lines.join("\n"), /VMMOUNT_PASSWORD|\/etc\/secret|UV_THREADPOOL/);
  t.match(lines.join("\n"), /^PATH=/m);
});

void t.test("failures say how it ended", async (t) => {
  t.equal((await tried("exit 3")).failure, "ended with exit code 3");
  t.equal((await tried("kill -9 $$")).failure, "was ended by SIGKILL");
  t.equal((await tried("no-such-command-here")).failure, "ended with exit code 127");
  const stopped = AbortSignal.abort();
  t.equal((await tried("true", { signal: stopped })).failure, "was not begun");
});

void t.test("one that takes too long is killed with all its children", async (t) => {
  const pidFile = join(t.testdir({}), "pid");
  const slow = await tried(`sleep 60 & echo $! > ${pidFile}; wait`, { timeoutMs: 300 });
  t.equal(slow.failure, "took longer than 0.3 s and was killed");
  t.ok(slow.ms < 10_000, `after ${slow.ms} ms`);
  t.ok(await isGone(Number(await readFile(pidFile, "utf8"))), "the child too");
});

void t.test("one that is stopped is told to end; one that does not listen is killed", async (t) => {
  const stop = new AbortController();
  setTimeout(() => {
    stop.abort();
  }, 200);
  t.equal((await tried("sleep 60", { signal: stop.signal })).failure, "was stopped");
  const deaf = await tried("trap '' TERM; while :; do sleep 0.1; done", { timeoutMs: 200 });
  t.equal(deaf.failure, "took longer than 0.2 s and was killed");
  t.ok(deaf.ms > 4_000 && deaf.ms < 20_000, `after ${deaf.ms} ms`);
});

void t.test("a child that keeps the output open is not waited for", async (t) => {
  const { failure, lines, ms } = await tried("echo said; sleep 20 & echo $!");
  t.equal(failure, undefined);
  t.equal(lines[0], "said");
  t.ok(ms < 5_000);
  process.kill(Number(lines[1]), "SIGKILL");
});

void t.test("what is said is bounded, in lines and in their length", async (t) => {
  const { lines } = await tried("i=0; while [ $i -lt 1500 ]; do echo line $i; i=$((i+1)); done");
  t.equal(lines.length, 1_001);
  t.match(lines.at(-1), /left out/);
  const long = await tried("head -c 1000000 /dev/zero | tr '\\0' x");
  t.ok(long.lines.every((line) => line.length <= 2_000));
  t.ok(long.lines.length >= 1);
});
