import { setTimeout as delay } from "node:timers/promises";
import t from "tap";
import { kernelFuseDriver } from "../../../src/fs/fuse/kernel-driver.js";
import type { Mounted } from "../../../src/fs/fuse-driver.js";
import { silentLogger } from "../../../src/log.js";
import { MIB } from "../../../src/units.js";
import { MemoryFileSystem, pattern } from "../../fixtures/memory-file-system.js";
import { cannotMount, holdOpen, mountFor, run, start } from "../../fixtures/mounting.js";

// What readers leave behind: nothing, however they end.

const READERS = 24;
const FILE_BYTES = 4 * MIB;
/** A server far away. */
const DELAY_MS = 60;

/** Longer than the slowest read that the kernel gave up on. */
const SETTLE_MS = 10_000;

async function settled(mounted: Mounted): Promise<{ openFiles: number; readsInFlight: number }> {
  const end = performance.now() + SETTLE_MS;
  for (;;) {
    const { openFiles, readsInFlight } = mounted.statistics;
    if ((openFiles === 0 && readsInFlight === 0) || performance.now() > end) return { openFiles, readsInFlight };
    await delay(20);
  }
}

const skip = cannotMount();

void t.test(
  "readers that are killed, that stop early and that finish leave no file and no read",
  { skip },
  async (t) => {
    const data = pattern(FILE_BYTES, 1);
    const tree = new MemoryFileSystem();
    const records = Array.from({ length: READERS }, (_, index) =>
      tree.addFile(`disk${index}`, {
        size: FILE_BYTES,
        extents: [{ at: 0, data }],
        beforeRead: () => delay(DELAY_MS),
      }),
    );
    const { mounted, path } = await mountFor(t, kernelFuseDriver({ logger: silentLogger() }), tree);
    const held = await holdOpen(path("disk0"));
    const readers = Array.from({ length: READERS }, (_, index) =>
      // A third reads a few pages and closes; the others read all, past the page cache so that each READ is waited for.
      index % 3 === 0
        ? start("dd", `if=${path(`disk${index}`)}`, "of=/dev/null", "bs=4k", "count=3", "status=none")
        : start("dd", `if=${path(`disk${index}`)}`, "of=/dev/null", "bs=1M", "iflag=direct", "status=none"),
    );
    while (mounted.statistics.readsInFlight < READERS / 3) await delay(5);
    t.ok(mounted.statistics.openFiles >= READERS / 3, "opens are counted while they last");
    for (const [index, reader] of readers.entries()) if (index % 3 === 1) reader.child.kill("SIGKILL");
    const outcomes = await Promise.all(readers.map((reader) => reader.outcome));
    t.ok(
      outcomes.every(({ code, signal }, index) => (index % 3 === 1 ? signal === "SIGKILL" || code === 0 : code === 0)),
      "only the killed ones failed",
    );
    t.ok(outcomes.filter(({ signal }) => signal === "SIGKILL").length > 0);
    t.equal((await held.release()).code, 0);
    t.strictSame(await settled(mounted), { openFiles: 0, readsInFlight: 0 });
    t.ok(
      records.every(({ opened, released }) => opened === released),
      "every open was released once",
    );
    const later = await run("cmp", path("disk1"), path("disk2"));
    t.equal(later.code, 0, "later reads work");
    await mounted.unmount();
  },
);
