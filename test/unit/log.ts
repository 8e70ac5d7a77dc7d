import t from "tap";
import { createLogger, type LogRecord, SecretTexts, silentLogger } from "../../src/log.js";

function setUp(level: number) {
  const records: LogRecord[] = [];
  const secrets = new SecretTexts();
  const write = (line: string): void => {
    t.ok(line.endsWith("}\n"));
    records.push(JSON.parse(line) as LogRecord);
  };
  return { records, secrets, logger: createLogger({ level, write, secrets }) };
}

const LEVELS = ["error", "warn", "info", "progress", "debug", "trace"] as const;

void t.test("each level lets through what it counts, the old way", (t) => {
  for (let level = 0; level <= 6; level++) {
    const { records, logger } = setUp(level);
    for (const name of LEVELS) logger[name](`a ${name}`, { field: name });
    t.strictSame(
      records.map((record) => record.level),
      LEVELS.slice(0, level),
    );
    t.strictSame(
      LEVELS.filter((name) => logger.isEnabled(name)),
      LEVELS.slice(0, level),
    );
    for (const record of records) {
      t.match(record, { msg: `a ${record.level}`, field: record.level, time: /^\d{4}-.*Z$/, pid: process.pid });
    }
  }
  t.end();
});

void t.test("a level beyond the scale is its end", (t) => {
  for (const [level, enabled] of [
    [-3, false],
    [99, true],
  ] as const) {
    t.equal(setUp(level).logger.isEnabled("trace"), enabled);
  }
  t.end();
});

void t.test("children carry their fields", (t) => {
  const { records, logger } = setUp(3);
  logger.child({ vm: "web01" }).child({ disk: "scsi0-0" }).info("opened");
  t.match(records, [{ vm: "web01", disk: "scsi0-0", msg: "opened" }]);
  t.end();
});

void t.test("fields with secret names are never written", (t) => {
  const { records, logger } = setUp(3);
  logger.info("login", { password: "a", session: { cookie: "b", deep: { ticket: "c" } }, user: "root" });
  t.match(records, [
    { password: "[redacted]", session: { cookie: "[redacted]", deep: { ticket: "[redacted]" } }, user: "root" },
  ]);
  t.end();
});

void t.test("known secret texts are stripped wherever they slip in", (t) => {
  const { records, secrets, logger } = setUp(3);
  secrets.add('p<&"ß w');
  secrets.add('p<&"ß w and more');
  logger.info('sent <password>p&lt;&amp;"ß w</password> and p&lt;&amp;&quot;ß w', {
    url: `https://x/?p=${encodeURIComponent('p<&"ß w')}`,
    header: Buffer.from('p<&"ß w').toString("base64"),
    plain: 'p<&"ß w and more',
  });
  const [record] = records;
  t.match(record, {
    msg: "sent <password>[redacted]</password> and [redacted]",
    url: "https://x/?p=[redacted]",
    header: "[redacted]",
    plain: "[redacted]",
  });
  t.end();
});

void t.test("texts too short to be secret are left alone", (t) => {
  const secrets = new SecretTexts();
  secrets.add("ab");
  secrets.add("");
  t.equal(secrets.strip("about"), "about");
  t.end();
});

void t.test("silentLogger() is silent", (t) => {
  const logger = silentLogger();
  for (const name of LEVELS) t.equal(logger.isEnabled(name), false);
  logger.error("nobody hears");
  t.end();
});
