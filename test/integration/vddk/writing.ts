import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import { NbdConnection } from "../../../src/nbd/connection.js";
import type { NbdSink } from "../../../src/nbd/nbd-sink.js";
import { bytes, KIB, MIB } from "../../../src/units.js";
import type { DiskRequest } from "../../../src/vddk/host-protocol.js";
import type { VddkService } from "../../../src/vddk/vddk-service.js";
import { patternBytes } from "../../fixtures/block/memory.js";
import { nbdSinkContract } from "../../fixtures/contract/nbd-sink.js";
import { run, succeed } from "../../fixtures/host/command-line.js";
import { VDDK_6, VDDK_8, type VddkRules } from "../../fixtures/host/vddk-stand-in.js";
import { scratch } from "../../fixtures/scratch.js";
import { failureOf } from "../../fixtures/snapshot-session.js";
import { LibraryService } from "../../fixtures/vddk/library-service.js";

const { signal } = new AbortController();
const MODES = ["modes=hotadd:nbdssl:nbd"];
const LOST = { name: "DiskIoError", retryable: false, hint: /Open the disk again/ };

/** A VDDK host with as many flat disks of a VM that is switched off as a test wants. */
class Stage {
  readonly service: VddkService;
  readonly rules: VddkRules;
  readonly log: () => string;
  readonly #library: LibraryService;
  #disks = 0;

  private constructor(library: LibraryService) {
    this.service = library.service;
    this.rules = library.rules;
    this.log = library.log;
    this.#library = library;
  }

  static async begin(t: Test, libdir: string): Promise<Stage> {
    return new Stage(await LibraryService.start(t, { libdir, rules: MODES }));
  }

  async disk(content: Uint8Array = new Uint8Array(4 * MIB)): Promise<StageDisk> {
    const { runtimeDir } = this.#library;
    const { request, flat } = await this.#library.disk(`d${++this.#disks}`, content);
    const [host = ""] = (await readdir(runtimeDir)).filter((one) => /^vddk-\w{6}$/.test(one));
    const socket = join(runtimeDir, host, "nbd");
    return {
      ...{ request, flat, socket, uri: `nbd+unix:///${request.name}?socket=${socket}` },
      open: (changes = {}, own = signal) =>
        this.service.openForWriting(
          { ...request, ...changes, access: "read-write" },
          { signal: own, otherwise: "another transport" },
        ),
    };
  }

  async set(...rules: readonly string[]): Promise<void> {
    await this.rules.set([...MODES, ...rules]);
  }

  /** Without the number of the handle. */
  async events(...words: readonly string[]): Promise<string[]> {
    const events = await this.rules.events();
    return events.filter((line) => words.includes(line.split(" ")[0]!)).map((line) => line.replace(/ \d+/, ""));
  }
}

interface StageDisk {
  readonly request: DiskRequest;
  readonly flat: string;
  readonly socket: string;
  readonly uri: string;
  readonly open: (changes?: Partial<DiskRequest>, signal?: AbortSignal) => Promise<NbdSink>;
}

// A host takes seconds to start: most tests use the same one.
const at = await Stage.begin(t, VDDK_8);

for (const [name, libdir, mode] of [
  ["nbdssl, with requests that are queued", VDDK_8, "nbdssl"],
  ["hotadd, which wants aligned memory", VDDK_8, "hotadd"],
  ["a library of 6.5", VDDK_6, "nbd"],
] as const) {
  void t.test(`a disk behind the library keeps the contract of what is written: ${name}`, async (t) => {
    const stage = libdir === VDDK_8 ? at : await Stage.begin(t, libdir);
    await nbdSinkContract(t, {
      serve: async (_, content) => {
        const { open, flat } = await stage.disk(content);
        return { open: (signal) => open({ mode }, signal), content: () => readFile(flat) };
      },
      size: 5 * MIB + 512,
      runs: mode === "nbdssl" ? 8 : 2,
    });
    process.env["VIXDISKLIB_STANDIN_RULES"] = at.rules.path;
  });
}

void t.test("flush and FUA reach the library, after what was written before", async (t) => {
  const disk = await at.disk();
  await using sink = await disk.open();
  await at.set("latency_us=100000");
  const before = (await at.events("write", "flush")).length;
  const happened = async (): Promise<string[]> => (await at.events("write", "flush")).slice(before);
  await sink.write(new Uint8Array(512), bytes(0));
  await sink.write(new Uint8Array(1024), bytes(512), { fua: true });
  t.same(await happened(), ["write 0 1", "write 1 2", "flush"]);
  const writing = sink.write(new Uint8Array(8 * KIB), bytes(4096));
  // Until it is under way.
  await sleep(50);
  await sink.flush();
  await writing;
  t.same((await happened()).slice(3), ["write 8 16", "flush"], "it waits for what was handed over before");
  await at.set("fail_flush=7@1");
  t.match(await failureOf(sink.flush()), { name: "DiskIoError", exitCode: 74 });
  await sink.flush();
  await at.set("fail_flush=7@1", "fail_write=8@2");
  t.match(await failureOf(sink.write(new Uint8Array(512), bytes(0), { fua: true })), { exitCode: 74 });
  t.match(await failureOf(sink.write(new Uint8Array(512), bytes(0))), { message: /no space is left/ });
  await sink.write(new Uint8Array(512), bytes(0), { fua: true });
});

void t.test("several requests are under way at a time", async (t) => {
  const disk = await at.disk();
  await using sink = await disk.open();
  await at.set("latency_us=500000");
  const began = performance.now();
  await Promise.all(Array.from({ length: 4 }, (_, index) => sink.write(new Uint8Array(MIB), bytes(index * MIB))));
  const ms = Math.round(performance.now() - began);
  t.ok(ms < 1_900, `${ms} ms in place of 2000`);
  await at.set();
});

void t.test("nothing is written that was not opened for it", async (t) => {
  const disk = await at.disk();
  const before = (await at.events("write")).length;
  const { request, socket, flat } = disk;
  await at.service.open(request, { signal, otherwise: "nothing" });
  const target = { address: { kind: "unix", path: socket }, exportName: request.name, tls: undefined } as const;
  await using connection = await NbdConnection.open(target, { connectMs: 5_000, stallMs: 5_000 }, signal);
  t.match(connection.agreed, { isReadOnly: true, takesFlush: false, takesFua: false, takesZeroes: false });
  const writing = connection.requests.write(new Uint8Array(512).fill(1), 0, { fua: false, signal });
  t.match(await failureOf(writing), { message: /not permitted/ });
  t.match(await failureOf(disk.open({ name: "s", snapshot: "snapshot-1" })), {
    message: /has frozen is never written/,
  });
  t.ok((await readFile(flat)).every((byte) => byte === 0));
  t.equal((await at.events("write")).length, before);
});

void t.test("a line that is lost between write and flush fails the flush, and all that follows", async (t) => {
  const disk = await at.disk();
  const flushes = (await at.events("flush")).length;
  await using sink = await disk.open();
  await sink.write(new Uint8Array(512).fill(1), bytes(0));
  await at.set("fail_write=14011@1");
  t.match(await failureOf(sink.write(new Uint8Array(512), bytes(512))), { name: "DiskIoError", exitCode: 74 });
  t.match(await failureOf(sink.flush()), { message: /flush/ });
  t.match(await failureOf(sink.write(new Uint8Array(512), bytes(512))), { name: "DiskIoError" });
  t.match(at.log(), /was lost while it was written/);
  t.equal((await at.events("flush")).length, flushes);
  await using again = await disk.open();
  await again.write(new Uint8Array(512).fill(1), bytes(0), { fua: true });
  // The host had no memory for a moment: nothing is lost by that.
  await at.set("fail_write=2@1");
  t.match(await failureOf(again.write(new Uint8Array(512), bytes(0))), { retryable: true, message: /no memory/ });
  await again.write(new Uint8Array(512), bytes(0), { fua: true });
  await at.set();
});

void t.test("a writer that goes away with writes under way leaves the disk in order", async (t) => {
  const disk = await at.disk();
  const giveUp = new AbortController();
  await using sink = await disk.open({}, giveUp.signal);
  await at.set("latency_us=200000");
  const writing = Array.from({ length: 12 }, (_, index) =>
    failureOf(sink.write(new Uint8Array(64 * KIB).fill(1), bytes(index * 64 * KIB))),
  );
  await sleep(100);
  giveUp.abort(new Error("enough"));
  for (const one of writing) t.match(await one, { message: "enough" });
  await at.set();
  await using again = await disk.open();
  await again.write(new Uint8Array(MIB).fill(2), bytes(0), { fua: true });
  t.ok(
    (await readFile(disk.flat)).subarray(0, MIB).every((byte) => byte === 2),
    "nothing of before comes later",
  );
});

void t.test("nbdcopy and qemu-img write an image that is equal", async (t) => {
  const content = patternBytes(16 * MIB);
  content.fill(0, 4 * MIB, 9 * MIB);
  const image = join(scratch(t), "image");
  await writeFile(image, content);
  const { open, flat, uri } = await at.disk(new Uint8Array(16 * MIB).fill(0x77));
  await using sink = await open();
  t.equal(sink.blockBytes, 1);
  const flushes = (await at.events("flush")).length;
  await succeed("nbdcopy", ["--requests=16", "--connections=4", "--flush", image, uri]);
  t.equal(Buffer.compare(await readFile(flat), content), 0);
  t.ok((await at.events("flush")).length > flushes);
  await writeFile(flat, Buffer.alloc(16 * MIB, 0x55));
  await succeed("qemu-img", ["convert", "-n", "-f", "raw", "-O", "raw", image, uri]);
  t.equal(Buffer.compare(await readFile(flat), content), 0);
  await succeed("qemu-img", ["compare", "-f", "raw", "-F", "raw", image, uri]);
});

void t.test("qemu-io writes what begins and ends inside of sectors", async (t) => {
  const plain = patternBytes(MIB);
  const { open, flat, uri } = await at.disk(plain);
  await using sink = await open();
  t.equal(sink.size, MIB);
  const steps: readonly [number, number][] = [
    [1, 1],
    [511, 2],
    [1000, 24],
    [1023, 4098],
    [70_000, 66_001],
    [MIB - 3, 3],
    [300_100, 200_200],
  ];
  const commands = steps.flatMap(([from, length], index) => {
    plain.fill(0x41 + index, from, from + length);
    const range = `-P ${0x41 + index} ${from} ${length}`;
    return ["-c", `aio_write ${range}`, "-c", "aio_flush", "-c", `read ${range}`];
  });
  plain.fill(0, 5_001, 5_001 + 100_000);
  const { code, stdout, stderr } = await run("qemu-io", [
    ...["-f", "raw", ...commands, "-c", "write -z 5001 100000", "-c", "flush", uri],
  ]);
  t.equal(code, 0, stdout + stderr);
  t.notMatch(stdout, /Pattern verification failed/);
  t.equal(Buffer.compare(await readFile(flat), plain), 0);
});

void t.test("a library that dies in the middle fails the writer, who opens the disk again", async (t) => {
  const disk = await at.disk();
  await using sink = await disk.open();
  await at.set("latency_us=400000");
  const writing = failureOf(sink.write(new Uint8Array(MIB).fill(1), bytes(0)));
  await sleep(100);
  process.kill(at.service.pid!, "SIGKILL");
  t.match(await writing, LOST);
  t.match(await failureOf(sink.flush()), LOST, "also what had been answered may be lost");
  await at.set();
  await using again = await disk.open();
  await again.write(new Uint8Array(MIB).fill(2), bytes(0), { fua: true });
  t.ok((await readFile(disk.flat)).subarray(0, MIB).every((byte) => byte === 2));
  await at.set("panic_write=1");
  t.match(await failureOf(again.write(new Uint8Array(512), bytes(0))), LOST);
  await at.set();
});

void t.test("disks that a writing process leaves attached are detached before the next one opens any", async (t) => {
  const stage = await Stage.begin(t, VDDK_8);
  const disk = await stage.disk();
  const happened = async (): Promise<string[]> =>
    (await stage.events("cleanup", "open")).map((line) => line.split(" ")[0]!);
  let sink = await disk.open({ mode: "hotadd" });
  t.same(await happened(), ["cleanup", "open"]);
  for (const end of ["SIGKILL", "PANIC"]) {
    const before = (await happened()).length;
    await stage.set(end === "PANIC" ? "panic_write=1" : "latency_us=400000");
    const writing = failureOf(sink.write(new Uint8Array(MIB).fill(1), bytes(0)));
    await sleep(100);
    if (end === "SIGKILL") process.kill(stage.service.pid!, "SIGKILL");
    t.match(await writing, LOST, end);
    await stage.set();
    await sink[Symbol.asyncDispose]();
    sink = await disk.open({ mode: "hotadd" });
    t.same((await happened()).slice(before), ["cleanup", "open"], end);
    await sink.write(new Uint8Array(MIB).fill(2), bytes(0), { fua: true });
  }
  await sink[Symbol.asyncDispose]();
  await stage.service.closeDisks();
  const before = (await happened()).length;
  process.kill(stage.service.pid!, "SIGKILL");
  while (!/serves 0 disks again.*serves 0 disks again.*serves 0 disks again/.test(stage.log())) await sleep(20);
  t.equal((await happened()).length, before, "nothing is attached after the disks were closed");
  process.env["VIXDISKLIB_STANDIN_RULES"] = at.rules.path;
});

void t.test("disks that are written are closed with the others", async (t) => {
  await using sink = await (await at.disk()).open();
  const [opens, closes] = [(await at.events("open")).length, (await at.events("close")).length];
  await at.service.closeDisks();
  // With the one that is only read, which the new host had opened again.
  t.equal((await at.events("close")).length, closes + 2);
  t.equal((await at.events("open")).length, opens);
  t.match(await failureOf(sink.flush()), LOST);
});
