import { join } from "node:path";
import t from "tap";
import { backUpBusyVm, backUpTwice, type StoredRun } from "../../fixtures/host/backup-agent.js";
import { succeed } from "../../fixtures/host/command-line.js";
import { MIB } from "../../../src/units.js";

/** The chunker that borg recommends for disk images, and the only one that skips holes. */
const CREATE = ["create", "--sparse", "--chunker-params", "fixed,1048576"];

void t.test("borg", (t) =>
  backUpBusyVm(t, {
    name: "borg",
    keepsHoles: true,
    backUp: async (from, store) => {
      await borg(store, ["init", "--encryption", "repokey"]);
      await borg(store, [...CREATE, "::web01", from]);
      await borg(store, ["check", "--verify-data"]);
    },
    restore: async (store, into, from) => {
      await borg(store, ["extract", "--sparse", "::web01"], into);
      return join(into, from);
    },
  }),
);

void t.test("borg stores only what changed between two mounts", async (t) => {
  let runs = 0;
  const { first, second } = await backUpTwice(t, async (from, store): Promise<StoredRun> => {
    const archive = `::web01-${runs++}`;
    if (runs === 1) await borg(store, ["init", "--encryption", "repokey"]);
    const created = JSON.parse(await borg(store, [...CREATE, "--json", archive, from])) as {
      archive: { stats: { deduplicated_size: number } };
    };
    const listed = (await borg(store, ["list", "--json-lines", archive])).trimEnd().split("\n");
    const items = listed.map((line) => JSON.parse(line) as { type: string; path: string });
    return {
      added: created.archive.stats.deduplicated_size,
      paths: items.filter(({ type }) => type === "-").map(({ path }) => path),
    };
  });
  t.ok(first.added > 20 * MIB, `the first backup stores the data (${first.added} bytes)`);
  t.ok(second.added < first.added / 10, `the second stores little (${second.added} bytes)`);
});

function borg(store: string, args: string[], cwd = store): Promise<string> {
  const env = {
    BORG_REPO: join(store, "repository"),
    BORG_BASE_DIR: join(store, "base"),
    BORG_PASSPHRASE: "test",
  };
  return succeed("borg", args, { cwd, env });
}
