import t from "tap";
import { NativeReads } from "../../../../src/fs/fuse-native/native-reads.js";
import { OpenFiles } from "../../../../src/fs/fuse/open-files.js";
import { silentLogger } from "../../../../src/log.js";
import { bytes, KIB } from "../../../../src/units.js";
import { gate } from "../../../fixtures/gate.js";
import { MemoryFileSystem, pattern } from "../../../fixtures/memory-file-system.js";

const LENGTH = 128 * KIB;

void t.test("reads beyond the memory bound wait for a buffer, and an abort fails them all", async (t) => {
  const data = pattern(16 * LENGTH, 1);
  const tree = new MemoryFileSystem();
  const opened = gate();
  let running = 0;
  let peak = 0;
  tree.addFile("disk", {
    size: data.length,
    extents: [{ at: 0, data }],
    beforeRead: async (at, _length, signal) => {
      peak = Math.max(peak, ++running);
      await opened.opened;
      running--;
      signal.throwIfAborted();
      if (at === 3 * LENGTH) throw new Error("this one fails");
    },
  });
  const node = tree.lookup(1, "disk");
  if (node === undefined) throw new Error("the file is there");
  const files = new OpenFiles(silentLogger());
  const handle = files.file(files.addFile(node, tree.open(node.inode)));
  if (handle === undefined) throw new Error("the file is open");
  const reads = new NativeReads(files, silentLogger(), bytes(2 * LENGTH));
  const into = Array.from({ length: 16 }, () => new Uint8Array(LENGTH));
  const all = into.map((buffer, index) => reads.serve(handle, buffer, index * LENGTH));
  opened.open();
  const results = await Promise.all(all);
  t.equal(peak, 2);
  t.equal(results[3], -5, "EIO");
  // What failed is remembered for the block of 1 MiB, so its neighbours that came later may be refused as well.
  for (const [index, result] of results.entries()) {
    if (result !== LENGTH) t.equal(result, -5, `read ${index}`);
    else t.same(Buffer.compare(into[index] ?? data, data.subarray(index * LENGTH, (index + 1) * LENGTH)), 0);
  }
  t.ok(results.filter((result) => result === LENGTH).length >= 8);
  t.equal(reads.inFlight, 0);
  const later = Array.from({ length: 8 }, () => reads.serve(handle, new Uint8Array(LENGTH), 12 * LENGTH));
  reads.abortAll();
  t.same(await Promise.all(later), Array(8).fill(-5), "none waits for ever");
});
