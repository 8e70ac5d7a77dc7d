import t, { type Test } from "tap";
import { ProgressLine } from "../../../src/cli/progress.js";

const TERMINAL = { out: () => undefined, err: () => undefined };

/** What appears on the terminal while `work` runs. */
function shown(t: Test, work: () => void): string {
  const { stderr } = process;
  const saved = { write: stderr.write.bind(stderr), isTTY: stderr.isTTY };
  let text = "";
  t.teardown(() => Object.assign(stderr, saved));
  Object.assign(stderr, {
    isTTY: true,
    write: (chunk: string) => {
      text += chunk;
      return true;
    },
  });
  try {
    work();
  } finally {
    Object.assign(stderr, saved);
  }
  return text;
}

void t.test("a bar appears with the first percentage, and a new one for each task", (t) => {
  const line = new ProgressLine({ ...TERMINAL, isInteractive: true, json: false });
  const text = shown(t, () => {
    line.report("Creating", undefined);
    line.report("Creating", 10);
    line.report("Creating", 250);
    line.report("Removing", 5);
    line.stop();
    line.stop();
  });
  t.match(text, /Creating/);
  t.match(text, /100%/, "never more than all of it");
  t.match(text, /Removing/);
  t.end();
});

void t.test("a log and a program get no bars", (t) => {
  for (const terminal of [
    { ...TERMINAL, isInteractive: false, json: false },
    { ...TERMINAL, isInteractive: true, json: true },
  ]) {
    const line = new ProgressLine(terminal);
    const text = shown(t, () => {
      line.report("Creating", 10);
      line.stop();
    });
    t.equal(text, "");
  }
  t.end();
});
