import { existsSync, mkdirSync } from "node:fs";
import t from "tap";
import { eraseSession } from "../../../src/mount/erase-session.js";
import { StatePaths } from "../../../src/mount/state-paths.js";
import { FileJournal } from "../../../src/snapshot/journal.js";
import { configIn } from "../../fixtures/mount/config.js";
import { scratch } from "../../fixtures/scratch.js";

const ID = "k3v9q2m7xa";

void t.test("a control socket that cannot be removed does not keep the session", async (t) => {
  const paths = new StatePaths(configIn(scratch(t)).settings);
  await paths.prepare();
  // What rm(1) refuses without -r stands for a file system that has become read-only.
  mkdirSync(paths.controlSocket(ID));
  await using journal = await FileJournal.create(paths.journal(ID), ID);
  await eraseSession(paths, ID, journal);
  t.notOk(existsSync(paths.journal(ID)));
});
