import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import t from "tap";
import { ConfigError } from "../../../src/errors.js";
import { listSessions } from "../../../src/mount/session-list.js";
import { StatePaths } from "../../../src/mount/state-paths.js";
import { FileJournal } from "../../../src/snapshot/journal.js";
import { configIn } from "../../fixtures/mount/config.js";
import { scratch } from "../../fixtures/scratch.js";
import { sessionFacts } from "../../fixtures/snapshot-facts.js";

void t.test("listSessions() tells the living from the dead and the damaged", async (t) => {
  const paths = new StatePaths(configIn(scratch(t)).settings);
  t.strictSame(await listSessions(paths), [], "before anything was mounted");
  await paths.prepare();
  const facts = sessionFacts();
  {
    await using dead = await FileJournal.create(paths.journal("0000000dea"), "0000000dea");
    await dead.append({ event: "planned", facts });
    await dead.append({ event: "creating", quiesce: true });
  }
  await using live = await FileJournal.create(paths.journal("000000ccve"), "000000ccve");
  await live.append({ event: "planned", facts });
  {
    await using empty = await FileJournal.create(paths.journal("000000empt"), "000000empt");
    t.ok(empty);
  }
  writeFileSync(paths.journal("000000damg"), "rubbish\nmore\n");
  writeFileSync(join(paths.sessions, "notes.journal"), "");
  writeFileSync(join(paths.sessions, "k3v9q2m7xa.bak"), "");
  const found = Object.fromEntries((await listSessions(paths)).map((entry) => [entry.id, entry]));
  t.strictSame(Object.keys(found), ["000000damg", "000000empt", "0000000dea", "000000ccve"], "oldest first");
  t.match(found["0000000dea"], { isLive: false, facts, damage: undefined, records: [{}, { event: "creating" }] });
  t.match(found["000000ccve"], { isLive: true, facts, startedAt: /^20/ });
  t.match(found["000000empt"], { isLive: false, facts: undefined, records: [], damage: undefined });
  t.match(found["000000damg"], { isLive: false, facts: undefined, damage: /record 0 is damaged/ });
});

void t.test(
  "what lies there and is no journal is shown as damaged; nothing is waited for, and little is read",
  async (t) => {
    const paths = new StatePaths(configIn(scratch(t)).settings);
    await paths.prepare();
    execFileSync("mkfifo", [paths.journal("000000fxfx")]);
    mkdirSync(paths.journal("0000000d1r"));
    writeFileSync(paths.journal("000000b1gx"), "");
    truncateSync(paths.journal("000000b1gx"), 2 ** 40);
    const late = new Promise<never>((_, reject) => setTimeout(reject, 2_000, new Error("still waiting")).unref());
    const found = await Promise.race([listSessions(paths), late]);
    t.match(Object.fromEntries(found.map(({ id, damage }) => [id, damage])), {
      "000000fxfx": /is not a file/,
      "0000000d1r": /is not a file/,
      "000000b1gx": /more than 1048576 bytes/,
    });
  },
);

void t.test("looking at a session does not take it for living, however many look", async (t) => {
  const paths = new StatePaths(configIn(scratch(t)).settings);
  {
    await using dead = await FileJournal.create(paths.journal("0000000dea"), "0000000dea");
    t.ok(dead);
  }
  const looks = await Promise.all(Array.from({ length: 20 }, () => listSessions(paths)));
  t.ok(looks.every(([entry]) => entry?.isLive === false));
});

void t.test("a journal that cannot be opened is a damaged one, and hides no other session", async (t) => {
  const paths = new StatePaths(configIn(scratch(t)).settings);
  await paths.prepare();
  await using live = await FileJournal.create(paths.journal("000000ccve"), "000000ccve");
  await live.append({ event: "planned", facts: sessionFacts() });
  symlinkSync("000000ring.journal", paths.journal("000000r1ng"));
  symlinkSync(paths.journal("0000000rng"), paths.journal("0000000rng"));
  const server = createServer().listen(paths.journal("0000s0cket"));
  t.teardown(() => server.close());
  await once(server, "listening");
  mkdirSync(paths.journal("00000f0der"));
  const found = Object.fromEntries((await listSessions(paths)).map((entry) => [entry.id, entry]));
  t.match(found["000000ccve"], { isLive: true, facts: sessionFacts() });
  t.match(found["0000000rng"], { isLive: false, damage: /ELOOP/ });
  t.match(found["0000s0cket"], { isLive: false, damage: /ENXIO/ });
  t.match(found["00000f0der"], { isLive: false, damage: /is not a file/ });
  t.notOk("000000r1ng" in found, "a link that leads nowhere is no journal");
});

void t.test("a directory that cannot be read is named", async (t) => {
  const directory = scratch(t);
  mkdirSync(join(directory, "state"));
  writeFileSync(join(directory, "state/sessions"), "");
  chmodSync(join(directory, "state"), 0o700);
  const paths = new StatePaths(configIn(directory).settings);
  await t.rejects(listSessions(paths), ConfigError);
  await t.rejects(listSessions(paths), { message: /Cannot list the sessions of .*ENOTDIR/, hint: /root/ });
});
