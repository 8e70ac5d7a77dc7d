import t from "tap";
import { ProgressLog } from "../../src/progress-log.js";
import { recordingLogger } from "../fixtures/recording-logger.js";

void t.test("a line when a task begins, and one for each tenth of it", (t) => {
  const { logger, lines } = recordingLogger();
  const log = new ProgressLog(logger);
  log.report("Creating", undefined);
  log.report("Creating", undefined);
  for (let percent = 0; percent <= 100; percent++) log.report("Removing", percent);
  log.report("Removing", 3);
  log.report("Creating", 99.9);
  const shown = lines.map((line) => `${line.level} ${line.message}`);
  t.equal(shown[0], "progress Creating");
  t.equal(shown[1], "progress Removing: 0 %");
  t.equal(shown.length, 1 + 11 + 1);
  t.equal(shown.at(-1), "progress Creating: 99 %");
  t.end();
});
