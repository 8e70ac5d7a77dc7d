import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { LogOutput } from "../../../src/cli/log-output.js";
import { ConfigError, errorFacts } from "../../../src/errors.js";
import { createLogger, SecretTexts } from "../../../src/log.js";
import { scratch } from "../../fixtures/scratch.js";

function output(own: { readonly level: number; readonly path?: string; readonly json?: boolean }) {
  const shown: string[] = [];
  const secrets = new SecretTexts();
  secrets.add("hunter2");
  const terminal = {
    out: () => undefined,
    err: (text: string) => shown.push(text),
    isInteractive: false,
    json: own.json === true,
  };
  const log = new LogOutput(terminal, { level: own.level, path: own.path ?? "", secrets });
  const logger = createLogger({
    level: own.level,
    secrets,
    write: (line) => {
      log.write(line);
    },
  });
  return { shown, log, logger };
}

void t.test("a file takes all lines, stderr then steps at most", (t) => {
  const path = join(scratch(t), "vmmount.log");
  const { shown, logger } = output({ level: 6, path });
  logger.warn("w");
  logger.info("i");
  logger.progress("p");
  logger.debug("d");
  logger.trace("password is hunter2");
  t.strictSame(shown, ["vmmount: warning: w\n", "vmmount: i\n"]);
  const lines = readFileSync(path, "utf8").trimEnd().split("\n");
  t.strictSame(
    lines.map((line) => (JSON.parse(line) as { msg: string }).msg),
    ["w", "i", "p", "d", "password is [redacted]"],
  );
  t.equal(statSync(path).mode & 0o777, 0o600);
  output({ level: 3, path }).logger.info("again");
  t.match(readFileSync(path, "utf8"), /"w"[^]*"again"/, "a file is added to");
  t.end();
});

void t.test("without a file stderr has it all", (t) => {
  const { shown, logger } = output({ level: 6 });
  logger.debug("d");
  t.strictSame(shown, ["vmmount: debug: d\n"]);
  t.end();
});

void t.test("the last sentence is told from level 1 on, is in the file always, and holds no secret", (t) => {
  const facts = errorFacts(new ConfigError("Cannot use hunter2", { hint: "Try" }));
  const path = join(scratch(t), "vmmount.log");
  const silent = output({ level: 0, path });
  silent.log.fail(facts);
  t.strictSame(silent.shown, []);
  t.match(readFileSync(path, "utf8"), /"message":"Cannot use \[redacted\]"/);
  const quiet = output({ level: 1 });
  quiet.log.fail(facts);
  t.strictSame(quiet.shown, ["vmmount: Cannot use [redacted]. Try\n"]);
  const json = output({ level: 0, json: true });
  json.log.fail(facts);
  t.match(JSON.parse(json.shown.join("")), { code: 78, message: "Cannot use [redacted]" });
  t.end();
});

void t.test("a file that cannot be written is refused at once", (t) => {
  t.throws(
    () => output({ level: 3, path: "/nonexistent/log" }),
    /Cannot write log file "\/nonexistent\/log": .*ENOENT/,
  );
  t.end();
});
