import t from "tap";
import { ControlServer } from "../../../src/mount/control-server.js";
import { reportSessions } from "../../../src/mount/session-status.js";
import { StatePaths } from "../../../src/mount/state-paths.js";
import { silentLogger } from "../../../src/log.js";
import { FileJournal } from "../../../src/snapshot/journal.js";
import type { JournalEvent } from "../../../src/snapshot/journal-record.js";
import { configIn } from "../../fixtures/mount/config.js";
import { sessionStatus } from "../../fixtures/mount/session-status.js";
import { scratch } from "../../fixtures/scratch.js";
import { sessionFacts } from "../../fixtures/snapshot-facts.js";

const ID = "k3v9q2m7xa";
const PLANNED: JournalEvent = { event: "planned", facts: sessionFacts() };

async function journal(paths: StatePaths, ...events: JournalEvent[]): Promise<FileJournal> {
  const made = await FileJournal.create(paths.journal(ID), ID);
  for (const event of [PLANNED, ...events]) await made.append(event);
  return made;
}

void t.test("a living session reports for itself", async (t) => {
  const paths = new StatePaths(configIn(scratch(t)).settings);
  await paths.prepare();
  t.strictSame(await reportSessions(paths), []);
  await using held = await journal(paths);
  t.ok(held);
  const status = sessionStatus();
  await using server = await ControlServer.listen(
    paths.controlSocket(ID),
    (_, send) => {
      send({ type: "status", status });
      return Promise.resolve();
    },
    silentLogger(),
  );
  t.ok(server);
  t.strictSame(await reportSessions(paths), [{ alive: true, ...status }]);
});

void t.test("a living session that does not answer, a dead one, and a leftover are told apart", async (t) => {
  const paths = new StatePaths(configIn(scratch(t)).settings);
  await paths.prepare();
  const common = { alive: false, session: ID, mountPoint: "/mnt/bäckup", vm: { name: "web/01", path: "/dc/web%2f01" } };
  {
    await using held = await journal(paths, { event: "creating", quiesce: true });
    t.match(await reportSessions(paths), [{ ...common, state: "creating", problem: /its daemon does not answer/ }]);
    await held.erase();
  }
  {
    await using held = await journal(paths, { event: "serving", disks: 1 });
    await held[Symbol.asyncDispose]();
    t.match(await reportSessions(paths), [{ ...common, state: "serving", problem: "its mount daemon is gone" }]);
    await using again = await FileJournal.open(paths.journal(ID), ID);
    await again.append({ event: "leftover", reason: "no network" });
  }
  t.match(await reportSessions(paths), [{ state: "leftover", problem: "its snapshot was left: no network" }]);
});

void t.test("a session that ends between two looks is no session", async (t) => {
  const paths = new StatePaths(configIn(scratch(t)).settings);
  await paths.prepare();
  await using held = await journal(paths);
  await using server = await ControlServer.listen(
    paths.controlSocket(ID),
    async () => {
      await held.erase();
    },
    silentLogger(),
  );
  t.ok(server);
  t.strictSame(await reportSessions(paths), []);
});
