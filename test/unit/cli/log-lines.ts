import t from "tap";
import { logLine } from "../../../src/cli/log-lines.js";

const PLAIN = { out: () => undefined, err: () => undefined, isInteractive: false, json: false };

function line(level: string, msg: string, fields: object = {}, isInteractive = false): string {
  const json = JSON.stringify({ level, time: "2026-03-04T05:06:07.890Z", pid: 1, msg, ...fields });
  return logLine(json, { ...PLAIN, isInteractive });
}

void t.test("logLine() says who speaks and how bad it is", (t) => {
  t.equal(line("info", "Mounted"), "vmmount: Mounted\n");
  t.equal(line("progress", "10 %"), "vmmount: 10 %\n");
  t.equal(line("warn", "Careful"), "vmmount: warning: Careful\n");
  t.equal(line("error", "Broken"), "vmmount: error: Broken\n");
  t.equal(line("error", "Broken", {}, true), "vmmount: \u001b[31merror\u001b[0m: Broken\n");
  t.equal(line("warn", "Careful", {}, true), "vmmount: \u001b[33mwarning\u001b[0m: Careful\n");
  t.end();
});

void t.test("logLine() shows fields where somebody looks for details", (t) => {
  t.equal(line("info", "Mounted", { vm: "web01" }), "vmmount: Mounted\n");
  t.equal(line("debug", "Called", { method: "Login" }), 'vmmount: debug: Called {"method":"Login"}\n');
  t.equal(line("trace", "Sent"), "vmmount: trace: Sent\n");
  t.end();
});

void t.test("logLine() is one line, whatever the message holds", (t) => {
  t.equal(line("warn", "a\nvmmount: b\u001b[2J"), "vmmount: warning: a\\u000avmmount: b\\u001b[2J\n");
  t.end();
});
