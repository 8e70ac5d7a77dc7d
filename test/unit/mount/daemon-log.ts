import {
  chmodSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import t from "tap";
import { DaemonLog, pruneLogs } from "../../../src/mount/daemon-log.js";
import { run } from "../../fixtures/host/command-line.js";
import { scratch } from "../../fixtures/scratch.js";

void t.test("a pipe without a reader is refused, and one with a slow reader holds nothing up", async (t) => {
  const path = join(scratch(t), "pipe");
  await run("mkfifo", [path]);
  t.throws(() => new DaemonLog(path), { name: "ConfigError", message: /ENXIO/ });
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  t.teardown(() => {
    closeSync(reader);
  });
  const log = new DaemonLog(path);
  for (let line = 0; line < 100; line++) log.write(`${"x".repeat(4000)}\n`);
  log.close();
});

void t.test("a line is in the file when write() returns", (t) => {
  const path = join(scratch(t), "a.log");
  const log = new DaemonLog(path);
  log.write("one\n");
  t.equal(readFileSync(path, "utf8"), "one\n");
  t.equal(statSync(path).mode & 0o777, 0o600);
  new DaemonLog(path).write("two\n");
  log.write("three\n");
  t.equal(readFileSync(path, "utf8"), "one\ntwo\nthree\n", "a second writer appends");
  log.close();
  t.end();
});

void t.test("a line after close() goes nowhere, least of all into another file", (t) => {
  const directory = scratch(t);
  const log = new DaemonLog(join(directory, "a.log"));
  log.close();
  const other = new DaemonLog(join(directory, "b.log"));
  log.write("late\n");
  log.close();
  other.write("mine\n");
  other.close();
  t.equal(readFileSync(join(directory, "b.log"), "utf8"), "mine\n");
  t.end();
});

void t.test("a full disk does not end a mount", (t) => {
  const log = new DaemonLog("/dev/full");
  log.write("lost\n");
  log.close();
  t.throws(() => new DaemonLog(join(scratch(t), "none/a.log")), { exit: "config", cause: { code: "ENOENT" } });
  t.end();
});

void t.test("nor does a file that takes no more lines", async (t) => {
  const path = join(scratch(t), "pipe");
  await run("mkfifo", [path]);
  const reader = openSync(path, constants.O_RDWR);
  const log = new DaemonLog(path);
  closeSync(reader);
  t.doesNotThrow(() => {
    log.write("lost: EPIPE\n");
  });
  log.close();
});

void t.test("pruneLogs() keeps the fifty newest logs, and everything that is no log", (t) => {
  const directory = scratch(t);
  for (let age = 0; age < 60; age++) {
    const path = join(directory, `${String(age).padStart(2, "0")}.log`);
    writeFileSync(path, "");
    utimesSync(path, 1_000_000 - age, 1_000_000 - age);
  }
  writeFileSync(join(directory, "notes.txt"), "");
  pruneLogs(directory, new Set(["58"]));
  const left = readdirSync(directory).sort();
  t.equal(left.length, 52);
  t.strictSame(left.slice(-3), ["49.log", "58.log", "notes.txt"], "and the log of a session that has not ended");
  pruneLogs(directory, new Set(["58"]));
  t.equal(readdirSync(directory).length, 52);
  chmodSync(directory, 0o700);
  t.end();
});

void t.test("pruneLogs() leaves what is no log file, and fails for none of it", (t) => {
  const directory = scratch(t);
  for (let age = 0; age < 60; age++) writeFileSync(join(directory, `${age}.log`), "");
  mkdirSync(join(directory, "folder.log"));
  utimesSync(join(directory, "folder.log"), 1, 1);
  symlinkSync("ring.log", join(directory, "ring.log"));
  pruneLogs(directory, new Set());
  t.equal(readdirSync(directory).length, 52);
  t.strictSame(
    readdirSync(directory).filter((name) => /^[a-z]/.test(name)),
    ["folder.log", "ring.log"],
  );
  t.end();
});
