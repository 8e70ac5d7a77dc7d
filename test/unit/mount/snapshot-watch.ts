import t from "tap";
import { UnreachableError } from "../../../src/errors.js";
import type { Snapshot } from "../../../src/hypervisor.js";
import { SnapshotWatch } from "../../../src/mount/snapshot-watch.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";

const OURS: Snapshot = {
  ref: "snapshot-7",
  name: "vmmount-0000000000",
  description: "",
  createdAt: new Date(0),
  quiesced: false,
  depth: 1,
};

function watch(answer: () => Promise<Snapshot[]>, intervalMs?: number) {
  const { logger, lines } = recordingLogger();
  let calls = 0;
  const watching = new SnapshotWatch({
    hypervisor: { listSnapshots: answer },
    vm: "vm-1",
    snapshot: OURS,
    logger,
    onGone: () => calls++,
    ...(intervalMs !== undefined && { intervalMs }),
  });
  return { watching, lines, gone: () => calls };
}

void t.test("a snapshot that is there is left alone", async (t) => {
  const { watching, gone } = watch(() => Promise.resolve([OURS]));
  await watching.look();
  t.equal(gone(), 0);
  t.notOk(watching.isGone);
});

void t.test("a snapshot that is gone is told once, even when others are there", async (t) => {
  const { watching, gone } = watch(() => Promise.resolve([{ ...OURS, ref: "snapshot-8" }]));
  await Promise.all([watching.look(), watching.look()]);
  await watching.look();
  t.equal(gone(), 1);
  t.ok(watching.isGone);
});

void t.test("another snapshot that has its id is not taken for it, and one with a new name is", async (t) => {
  const theirs = { ...OURS, name: "before upgrade", createdAt: new Date(1) };
  const answers = [[{ ...OURS, name: "renamed" }], [], [theirs]];
  const { watching, gone } = watch(() => Promise.resolve(answers.shift() ?? []));
  await watching.look();
  t.same([watching.isGone, watching.isReplaced], [false, false]);
  await watching.look();
  t.same([watching.isGone, watching.isReplaced], [true, false]);
  await watching.look();
  t.same([watching.isGone, watching.isReplaced], [true, true]);
  t.equal(gone(), 1);
});

void t.test("a server that does not answer has shown nothing", async (t) => {
  const { watching, gone, lines } = watch(() => Promise.reject(new UnreachableError("down")));
  await watching.look();
  t.equal(gone(), 0);
  t.ok(lines.some((line) => JSON.stringify(line).includes("down")));
});

void t.test("it looks by itself, and not after stop()", async (t) => {
  let looks = 0;
  let seen: () => void = () => undefined;
  const twice = new Promise<void>((resolve) => (seen = resolve));
  const { watching } = watch(() => {
    if (++looks === 2) seen();
    return Promise.resolve([OURS]);
  }, 1);
  watching.start();
  // The watch's timer does not keep the process alive: this one does.
  const alive = setInterval(() => undefined, 1000);
  await twice;
  await watching.stop();
  clearInterval(alive);
  const after = looks;
  await new Promise((resolve) => setImmediate(resolve));
  t.equal(looks, after);
});
