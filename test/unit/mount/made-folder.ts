import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { removeEmptyFolder } from "../../../src/mount/made-folder.js";

void t.test("a folder goes when it is empty, and only then", async (t) => {
  const directory = t.testdir({ full: { file: "kept" }, file: "kept" });
  mkdirSync(join(directory, "empty"));
  await removeEmptyFolder(join(directory, "empty"));
  t.notOk(existsSync(join(directory, "empty")));
  for (const name of ["full", "file", "absent"]) await removeEmptyFolder(join(directory, name));
  t.ok(existsSync(join(directory, "full", "file")));
  t.ok(existsSync(join(directory, "file")));
});
