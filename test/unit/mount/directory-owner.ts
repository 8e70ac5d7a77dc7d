import { chownSync, lchownSync, mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { RefusedError, UnreachableError } from "../../../src/errors.js";
import { askStatus } from "../../../src/mount/control-client.js";
import { refuseForeignDirectory } from "../../../src/mount/directory-owner.js";
import { StatePaths } from "../../../src/mount/state-paths.js";
import { scratch } from "../../fixtures/scratch.js";

const skip = process.getuid?.() === 0 ? false : "needs root, to give directories away";
const SOMEBODY = 65534;

void t.test("a directory is one's own or root's", { skip }, async (t) => {
  const top = scratch(t);
  const theirs = join(top, "theirs");
  mkdirSync(theirs);
  await t.resolves(refuseForeignDirectory(theirs));
  await t.resolves(refuseForeignDirectory(theirs, SOMEBODY), "root's");
  chownSync(theirs, SOMEBODY, SOMEBODY);
  await t.resolves(refuseForeignDirectory(theirs, SOMEBODY));
  await t.rejects(refuseForeignDirectory(theirs), RefusedError);
  await t.rejects(refuseForeignDirectory(theirs, 1000), { message: /belongs to user 65534/, hint: /runtime\.dir/ });
  await t.rejects(refuseForeignDirectory(join(top, "missing")), { code: "ENOENT" });
});

void t.test("a link that somebody else laid is not followed", { skip }, async (t) => {
  const top = scratch(t);
  const link = join(top, "link");
  symlinkSync(top, link);
  await t.resolves(refuseForeignDirectory(link));
  lchownSync(link, SOMEBODY, SOMEBODY);
  await t.rejects(refuseForeignDirectory(link), RefusedError);
});

void t.test("neither sockets nor locks are used in somebody else's directory", { skip }, async (t) => {
  const top = scratch(t);
  const runtime = join(top, "run");
  mkdirSync(runtime);
  chownSync(runtime, SOMEBODY, SOMEBODY);
  const paths = new StatePaths({ "state.dir": join(top, "state"), "runtime.dir": runtime });
  await t.rejects(paths.prepare(), RefusedError);
  await t.rejects(askStatus(paths.controlSocket("k3v9q2m7xa")), UnreachableError);
  await t.rejects(askStatus(paths.controlSocket("k3v9q2m7xa")), { message: /belongs to user 65534/ });
});
