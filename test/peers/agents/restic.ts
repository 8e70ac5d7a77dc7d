import { join } from "node:path";
import t from "tap";
import { backUpBusyVm, backUpTwice, type StoredRun } from "../../fixtures/host/backup-agent.js";
import { succeed } from "../../fixtures/host/command-line.js";
import { MIB } from "../../../src/units.js";

void t.test("restic", (t) =>
  backUpBusyVm(t, {
    name: "restic",
    // `restore --sparse` came with 0.15.
    keepsHoles: false,
    backUp: async (from, store) => {
      await restic(store, "init");
      await restic(store, "backup", from);
      await restic(store, "check", "--read-data");
    },
    restore: async (store, into, from) => {
      await restic(store, "restore", "latest", "--target", into);
      return join(into, from);
    },
  }),
);

void t.test("restic stores only what changed between two mounts", async (t) => {
  const { first, second } = await backUpTwice(t, async (from, store): Promise<StoredRun> => {
    await restic(store, "cat", "config").catch(() => restic(store, "init"));
    const lines = (await restic(store, "backup", "--json", from)).trimEnd().split("\n");
    const summary = JSON.parse(lines.at(-1) ?? "") as { data_added: number; snapshot_id: string };
    const listed = (await restic(store, "ls", "--json", summary.snapshot_id)).trimEnd().split("\n");
    const nodes = listed.map((line) => JSON.parse(line) as { type?: string; path?: string });
    return {
      added: summary.data_added,
      paths: nodes.flatMap(({ type, path }) => (type === "file" && path !== undefined ? [path] : [])),
    };
  });
  t.ok(first.added > 30 * MIB, `the first backup stores the data (${first.added} bytes)`);
  t.ok(second.added < first.added / 10, `the second stores little (${second.added} bytes)`);
});

function restic(store: string, ...args: string[]): Promise<string> {
  const env = {
    RESTIC_REPOSITORY: join(store, "repository"),
    RESTIC_CACHE_DIR: join(store, "cache"),
    RESTIC_PASSWORD: "test",
  };
  return succeed("restic", args, { env });
}
