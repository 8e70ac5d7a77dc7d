import { chmodSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { ConfigError } from "../../../src/errors.js";
import { isSessionId, newSessionId, StatePaths } from "../../../src/mount/state-paths.js";
import { scratch } from "../../fixtures/scratch.js";

void t.test("session ids are ten letters and digits that nobody confuses", (t) => {
  const ids = Array.from({ length: 2000 }, () => newSessionId());
  t.ok(ids.every((id) => isSessionId(id)));
  t.equal(new Set(ids).size, ids.length);
  t.notOk(ids.some((id) => /[ilou]/.test(id)));
  for (const bad of ["", "k3v9q2m7x", "k3v9q2m7xaa", "K3V9Q2M7XA", "k3v9q2m7xi", "../../../a", "k3v9q2m7x\n"]) {
    t.notOk(isSessionId(bad), JSON.stringify(bad));
  }
  t.end();
});

void t.test("prepare() makes directories for their owner only, and leaves those that exist as they are", async (t) => {
  const top = scratch(t);
  const shared = join(top, "shared");
  mkdirSync(shared);
  chmodSync(shared, 0o1777);
  const paths = new StatePaths({ "state.dir": shared, "runtime.dir": join(top, "new/run") });
  await paths.prepare();
  await paths.prepare();
  t.equal(statSync(shared).mode & 0o7777, 0o1777, "such as /tmp");
  for (const path of [paths.sessions, paths.logs, paths.locks, join(top, "new/run")]) {
    t.equal(statSync(path).mode & 0o777, 0o700, path);
  }
  t.equal(paths.journal("k3v9q2m7xa"), join(shared, "sessions/k3v9q2m7xa.journal"));
  t.equal(paths.log("k3v9q2m7xa"), join(shared, "logs/k3v9q2m7xa.log"));
  t.equal(paths.controlSocket("k3v9q2m7xa"), join(top, "new/run/k3v9q2m7xa.sock"));
});

void t.test("prepare() says what is wrong with a directory", async (t) => {
  const top = scratch(t);
  writeFileSync(join(top, "file"), "");
  const inFile = new StatePaths({ "state.dir": join(top, "file/x"), "runtime.dir": top });
  await t.rejects(inFile.prepare(), ConfigError);
  await t.rejects(inFile.prepare(), { message: /Cannot use directory .*file\/x/, hint: /state\.dir/ });
  const longest = join(top, "x".repeat(107 - top.length - 1 - "/k3v9q2m7xa.sock".length));
  await new StatePaths({ "state.dir": top, "runtime.dir": longest }).prepare();
  await t.rejects(new StatePaths({ "state.dir": top, "runtime.dir": `${longest}x` }).prepare(), {
    message: /too long for a unix socket/,
  });
  const wide = join(top, "ä".repeat(45));
  await t.rejects(new StatePaths({ "state.dir": top, "runtime.dir": wide }).prepare(), ConfigError, "bytes count");
});
