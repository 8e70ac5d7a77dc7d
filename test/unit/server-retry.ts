import t from "tap";
import { loadConfig } from "../../src/config.js";
import { AuthError, UnreachableError } from "../../src/errors.js";
import { askAgain } from "../../src/server-retry.js";
import { recordingLogger } from "../fixtures/recording-logger.js";

const env = { VMMOUNT_RETRY_MAX: "2", VMMOUNT_RETRY_BACKOFF: "0s" };
const { settings } = loadConfig({ file: "/dev/null", env, flags: [] });
const { signal } = new AbortController();

void t.test("asks again as often as retry.max says, and tells each time", async (t) => {
  const { logger, lines } = recordingLogger();
  let asked = 0;
  const ask = (): Promise<string> =>
    ++asked <= 2 ? Promise.reject(new UnreachableError("Cannot reach it")) : Promise.resolve("here");
  t.equal(await askAgain("Logging in", ask, { settings, logger, signal }), "here");
  t.strictSame(
    lines.map(({ level, message }) => `${level}: ${message}`),
    [
      "warn: Logging in failed (Cannot reach it); attempt 2 follows in 0 s",
      "warn: Logging in failed (Cannot reach it); attempt 3 follows in 0 s",
    ],
  );
});

void t.test("what stays wrong is not asked again: a wrong password would lock the account", async (t) => {
  const { logger, lines } = recordingLogger();
  let asked = 0;
  const ask = (): Promise<never> => {
    asked++;
    return Promise.reject(new AuthError("Wrong password"));
  };
  await t.rejects(askAgain("Logging in", ask, { settings, logger, signal }), AuthError);
  t.equal(asked, 1);
  t.strictSame(lines, []);
});
