import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { silentLogger } from "../../../src/log.js";
import { NbdSource } from "../../../src/nbd/nbd-source.js";
import { NbdServer } from "../../../src/nbd/server/nbd-server.js";
import type { ServedDisk } from "../../../src/nbd/server/served-disk.js";
import { bytes, MIB } from "../../../src/units.js";
import { patternBytes } from "../../fixtures/block/memory.js";
import { blockSourceContract } from "../../fixtures/contract/block-source.js";
import { run, succeed } from "../../fixtures/host/command-line.js";
import { MemoryDisk } from "../../fixtures/nbd/memory-disk.js";
import { scratch } from "../../fixtures/scratch.js";

const { signal } = new AbortController();

async function serve(t: Test, ...disks: readonly ServedDisk[]): Promise<{ socket: string; uri: string }> {
  const socket = join(scratch(t), "socket");
  const server = await NbdServer.listen(socket, silentLogger());
  for (const disk of disks) server.add(disk);
  t.teardown(() => server[Symbol.asyncDispose]());
  return { socket, uri: `nbd+unix:///${encodeURIComponent(disks[0]!.name)}?socket=${socket}` };
}

void t.test("our server and our client keep the contract together", async (t) => {
  await blockSourceContract(t, {
    open: async (content) => {
      const { socket } = await serve(t, new MemoryDisk("a disk", content.slice()));
      const target = { address: { kind: "unix", path: socket }, exportName: "a disk", tls: undefined } as const;
      const options = { connectMs: 5_000, stallMs: 5_000, connectionsMax: 4, holes: "asked of the server" } as const;
      return NbdSource.open(target, options, signal);
    },
    blockBytes: 512,
    runs: 30,
  });
});

void t.test("many reads that one signal would end are no leak", async (t) => {
  const warnings: Error[] = [];
  const onWarning = (warning: Error): number => warnings.push(warning);
  process.on("warning", onWarning);
  t.teardown(() => process.off("warning", onWarning));
  const { socket } = await serve(t, new MemoryDisk("d", new Uint8Array(MIB)));
  const target = { address: { kind: "unix", path: socket }, exportName: "d", tls: undefined } as const;
  const options = { connectMs: 5_000, stallMs: 5_000, connectionsMax: 8, holes: "not asked for" } as const;
  const { signal: own } = new AbortController();
  await using source = await NbdSource.open(target, options, own);
  await Promise.all(Array.from({ length: 40 }, () => source.read(new Uint8Array(4096), bytes(0), { signal: own })));
  // Warnings come a turn later.
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.same(warnings, []);
});

void t.test("libnbd reads the same: sizes, names, holes, bytes", async (t) => {
  const content = new Uint8Array(8 * MIB);
  content.set(patternBytes(MIB), 2 * MIB);
  const { socket, uri } = await serve(t, new MemoryDisk("scsi0-0", content), new MemoryDisk("other", content));
  t.equal((await stat(socket)).mode & 0o777, 0o600);
  const list = JSON.parse(await succeed("nbdinfo", ["--list", "--json", `nbd+unix:///?socket=${socket}`])) as {
    exports: Record<string, unknown>[];
  };
  t.match(list.exports, [
    {
      "export-name": "scsi0-0",
      "export-size": 8 * MIB,
      is_read_only: false,
      can_fua: true,
      can_multi_conn: true,
      block_size_minimum: 512,
      block_size_maximum: 2 * MIB,
    },
    { "export-name": "other" },
  ]);
  const map = JSON.parse(await succeed("nbdinfo", ["--map", "--json", uri])) as { offset: number; length: number }[];
  t.match(map, [
    { offset: 0, length: 2 * MIB, type: 3 },
    { offset: 2 * MIB, length: MIB, type: 0 },
    { offset: 3 * MIB, length: 5 * MIB, type: 3 },
  ]);
  const copy = join(scratch(t), "copy");
  await succeed("nbdcopy", ["--requests=16", "--connections=4", uri, copy]);
  t.equal(Buffer.compare(await readFile(copy), content), 0);
});

void t.test("qemu writes, flushes and is refused what does not fit", async (t) => {
  const disk = new MemoryDisk("d", new Uint8Array(MIB));
  const { uri } = await serve(t, disk);
  const io = (...commands: readonly string[]) =>
    run("qemu-io", [...commands.flatMap((command) => ["-c", command]), "-f", "raw", uri]);
  disk.content.fill(1, 512 * 1024);
  const written = await io("write -P 0x5a 4096 65536", "write -f -P 0x5b 0 512", "write -z -f 524288 262144", "flush");
  t.equal(written.code, 0, written.stdout + written.stderr);
  t.equal(disk.content[4096], 0x5a);
  t.equal(disk.content[4096 + 65_535], 0x5a);
  t.equal(disk.content[511], 0x5b);
  t.ok(disk.content.subarray(524_288, 786_432).every((byte) => byte === 0));
  t.equal(disk.content[786_432], 1);
  t.ok(disk.flushes >= 3);
  const { content } = disk;
  const readOnly: ServedDisk = {
    name: "r",
    size: disk.size,
    blockBytes: disk.blockBytes,
    read: (into, at) => {
      if (at >= 512 * 1024) throw new Error("this half of the disk is ill");
      into.set(content.subarray(at, at + into.length));
      return Promise.resolve();
    },
  };
  const second = await serve(t, readOnly);
  const info = JSON.parse(await succeed("nbdinfo", ["--json", second.uri])) as { exports: unknown[] };
  t.match(info.exports, [{ is_read_only: true, can_flush: false, contexts: [] }]);
  const ill = await run("qemu-io", ["-r", "-c", "read 0 4096", "-c", "read 524288 4096", "-f", "raw", second.uri]);
  t.match(ill.stdout + ill.stderr, /read 4096\/4096 bytes at offset 0[^]*read failed: Input\/output error/);
});
