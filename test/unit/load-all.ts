import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t from "tap";

/** A file that nothing loads is not counted by coverage at all: this loads every one, except the process edge itself. */
const SRC = fileURLToPath(new URL("../../src", import.meta.url));

void t.test("every source file can be loaded on its own", async (t) => {
  const paths = readdirSync(SRC, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts") && !entry.name.endsWith(".d.ts"))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => path !== join(SRC, "main.ts"));
  for (const path of paths) await import(path);
  t.ok(paths.length > 100, `${paths.length} files`);
});
