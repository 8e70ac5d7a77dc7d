import { execFileSync } from "node:child_process";
import { symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { formatCatalog } from "../../../src/catalog.js";
import { catalogOf } from "../../../src/fs/vm-catalog.js";
import { openPoolArchive } from "../../../src/restore/pool-archive.js";
import { scratch } from "../../fixtures/scratch.js";
import { failureOf } from "../../fixtures/snapshot-session.js";
import { contents } from "../../fixtures/vm/contents.js";

const { signal } = new AbortController();

void t.test("a catalog names files of its own folder only", async (t) => {
  const folder = scratch(t);
  const catalog = catalogOf(contents());
  const included = catalog.disks.filter((disk) => disk.included);
  t.not(included.length, 0);
  writeFileSync(join(folder, "ova.xml"), "");
  for (const file of ["../secret.raw", "/etc/passwd", "a/b.raw"]) {
    const disks = included.map((disk) => ({ ...disk, file }));
    const server = { ...catalog.server, kind: "xen" as const };
    writeFileSync(join(folder, "catalog.json"), formatCatalog({ ...catalog, server, disks }));
    const error = await failureOf(openPoolArchive(folder, { major: 1, minor: 20 }, signal));
    t.match(error, { name: "IntegrityError", message: `"${file}", which its catalog.json names, does not lie in it` });
  }
});

void t.test("what describes a backup is a file: nothing else is waited for or read", async (t) => {
  for (const make of [
    (path: string) => execFileSync("mkfifo", [path]),
    (path: string) => {
      symlinkSync("/dev/null", path);
    },
  ]) {
    const folder = scratch(t);
    make(join(folder, "catalog.json"));
    const opening = openPoolArchive(folder, { major: 1, minor: 20 }, signal);
    const late = new Promise((resolve) => setTimeout(resolve, 1_000, "still waiting").unref());
    t.match(await Promise.race([failureOf(opening), late]), { name: "IntegrityError", message: /it is not a file/ });
  }
});
