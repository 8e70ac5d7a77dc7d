import { open } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { FRAGMENTS_PER_BLOCK } from "../../src/fs/block/cache.js";
import type { SessionStatus } from "../../src/mount/control-protocol.js";
import { KIB, MIB } from "../../src/units.js";
import { labFor } from "../fixtures/host/lab-host.js";
import { ProxyHost } from "../fixtures/host/proxy-host.js";

const IMAGES = ["scsi0-0-flat.vmdk", "scsi0-1-flat.vmdk"] as const;
const READ_BYTES = 4 * KIB;

/** One page of every MiB of both disks, in an order and at places without a pattern, but the same in every run. */
async function places(mountPoint: string): Promise<{ readonly path: string; readonly at: number }[]> {
  let state = 0x2545f491;
  const dice = (under: number): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % under;
  };
  const found: { readonly path: string; readonly at: number; readonly turn: number }[] = [];
  for (const path of IMAGES.map((name) => join(mountPoint, name))) {
    await using file = await open(path, "r");
    const { size } = await file.stat();
    // Not the first page: whoever begins there is taken for a copy.
    const page = (): number => 1 + dice(MIB / READ_BYTES - 1);
    for (let block = 0; block < size / MIB; block++) {
      found.push({ path, at: block * MIB + page() * READ_BYTES, turn: dice(2 ** 31) });
    }
  }
  return found.toSorted((one, other) => one.turn - other.turn);
}

async function fetched(host: ProxyHost): Promise<{ fetchedBytes: number; fetches: number }> {
  const [session] = (await host.json<{ sessions: SessionStatus[] }>(["status"])).sessions;
  return session!.traffic;
}

void t.test("a reader that jumps about costs a piece of a block for each page, not the block", async (t) => {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  // With holes known, most of the reads would cost nothing at all.
  await host.json(["mount", "name:web01", host.mountPoint, "--allocation", "off"]);
  const before = await fetched(host);
  const reads = await places(host.mountPoint);
  t.ok(reads.length > 100, `${reads.length} reads`);
  const files = new Map(await Promise.all(IMAGES.map((name) => join(host.mountPoint, name)).map(opened)));
  // Buffered, for the kernel's own read-ahead is a part of what is measured.
  for (const { path, at } of reads) await files.get(path)!.read(Buffer.alloc(READ_BYTES), 0, READ_BYTES, at);
  for (const file of files.values()) await file.close();
  const after = await fetched(host);
  t.equal(after.fetches - before.fetches, reads.length);
  t.equal(after.fetchedBytes - before.fetchedBytes, reads.length * (MIB / FRAGMENTS_PER_BLOCK));
  t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
});

async function opened(path: string) {
  return [path, await open(path, "r")] as const;
}
