import t from "tap";
import { runChecks } from "../../../src/check/run.js";
import { loadConfig } from "../../../src/config.js";
import { silentLogger } from "../../../src/log.js";
import { StatePaths } from "../../../src/mount/state-paths.js";
import { configIn } from "../../fixtures/mount/config.js";
import { scratch } from "../../fixtures/scratch.js";
import { failureOf } from "../../fixtures/snapshot-session.js";

const { signal } = new AbortController();

void t.test(
  "without a word, the server that a mount would take is asked, also one that only the default names",
  async (t) => {
    const directory = scratch(t);
    configIn(directory);
    const checked = (server: string) => {
      const env = { VMMOUNT_CONFIG: `${directory}/config.toml`, VMMOUNT_SERVER: server };
      const config = loadConfig({ env, flags: [] });
      const options = { config, choice: { credential: { env } }, paths: new StatePaths(config.settings), signal };
      return runChecks({ server: undefined, locator: undefined }, { ...options, logger: silentLogger() });
    };
    const { checks, summary } = await checked("https://vc1.invalid");
    t.match(
      checks.filter(({ subject }) => subject.kind === "server"),
      [{ id: "server.credentials", state: "fail", subject: { name: "vc1.invalid" } }],
    );
    t.equal(summary.exit, "config");
    t.match(await failureOf(checked("vc2")), { exitCode: 64, message: /"vc2": it is not configured/ });
  },
);
