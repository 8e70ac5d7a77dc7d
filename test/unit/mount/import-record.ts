import { mkdirSync, readdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { eraseTornImports, listImports } from "../../../src/mount/import-record.js";
import { StatePaths } from "../../../src/mount/state-paths.js";
import { configIn } from "../../fixtures/mount/config.js";
import { scratch } from "../../fixtures/scratch.js";

void t.test("what is no file among the records of imports stops nobody from cleaning up", async (t) => {
  const paths = new StatePaths(configIn(scratch(t)).settings);
  await paths.prepare();
  mkdirSync(paths.imports);
  mkdirSync(join(paths.imports, "00000f0der.import"));
  utimesSync(join(paths.imports, "00000f0der.import"), 1, 1);
  symlinkSync("0000000rng.import", join(paths.imports, "0000000rng.import"));
  writeFileSync(join(paths.imports, "00000empty.import"), "");
  utimesSync(join(paths.imports, "00000empty.import"), 1, 1);
  t.strictSame(await listImports(paths), []);
  await eraseTornImports(paths);
  t.strictSame(readdirSync(paths.imports).sort(), ["0000000rng.import", "00000f0der.import"]);
});
