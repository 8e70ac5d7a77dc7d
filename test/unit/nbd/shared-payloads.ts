import { setTimeout as sleep } from "node:timers/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { silentLogger } from "../../../src/log.js";
import { NbdSource } from "../../../src/nbd/nbd-source.js";
import { NbdServer } from "../../../src/nbd/server/nbd-server.js";
import type { ServedDisk } from "../../../src/nbd/server/served-disk.js";
import { SharedPayloads } from "../../../src/nbd/shared-payloads.js";
import { bytes } from "../../../src/units.js";
import { blockSourceContract } from "../../fixtures/contract/block-source.js";
import { scratch } from "../../fixtures/scratch.js";
import { failureOf } from "../../fixtures/snapshot-session.js";

const SLOT = 4096;
const OPTIONS = { connectMs: 5_000, stallMs: 5_000, connectionsMax: 1, holes: "not asked for" } as const;
const { signal } = new AbortController();

/** Counts where reads go to, and answers them when the test says so. */
class CountingDisk implements ServedDisk {
  readonly name = "disk";
  readonly blockBytes = { minimum: 512, preferred: 512, maximum: 1 << 20 };
  readonly content: Uint8Array;
  readonly size;
  readonly #memory: Uint8Array;
  shared = 0;
  copied = 0;
  gate: Promise<void> = Promise.resolve();
  isIll = false;

  constructor(content: Uint8Array, memory: Uint8Array) {
    this.content = content;
    this.size = bytes(content.length);
    this.#memory = memory;
  }

  async read(into: Uint8Array, at: number): Promise<void> {
    if (into.buffer === this.#memory.buffer) this.shared++;
    else this.copied++;
    await this.gate;
    if (this.isIll) throw new Error("this disk is ill");
    into.set(this.content.subarray(at, at + into.length));
  }
}

interface Stage {
  readonly disk: CountingDisk;
  readonly payloads: SharedPayloads;
  readonly source: NbdSource;
}

/** Client and server in one process have any memory in common. @param slots that the client thinks there are */
async function stage(t: Test, content: Uint8Array, { slots = 2, served = 2 } = {}): Promise<Stage> {
  const memory = new Uint8Array(slots * SLOT);
  const disk = new CountingDisk(content, memory);
  const path = join(scratch(t), "socket");
  const server = await NbdServer.listen(path, silentLogger(), memory.subarray(0, served * SLOT));
  server.add(disk);
  t.teardown(() => server[Symbol.asyncDispose]());
  const payloads = new SharedPayloads(memory, SLOT);
  const target = { address: { kind: "unix", path }, exportName: "disk", tls: undefined } as const;
  const source = await NbdSource.open(target, { ...OPTIONS, shared: payloads }, signal);
  t.teardown(() => source[Symbol.asyncDispose]());
  return { disk, payloads, source };
}

function later(): { readonly gate: Promise<void>; readonly open: () => void } {
  let open!: () => void;
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { gate, open };
}

void t.test("the contract, with memory for some of the reads", async (t) => {
  await blockSourceContract(t, { open: async (content) => (await stage(t, content.slice())).source, blockBytes: 512 });
});

void t.test("reads go through the memory, and through the socket when it is full or too small", async (t) => {
  const { disk, source, payloads } = await stage(t, Buffer.alloc(65_536, "0123456789abcdef"));
  const { gate, open } = later();
  disk.gate = gate;
  const read = async (at: number, length: number): Promise<string> => {
    const into = new Uint8Array(length);
    await source.read(into, bytes(at), { signal });
    return Buffer.from(into.subarray(0, 3)).toString();
  };
  const reads = [read(0, 4096), read(4096, 512), read(8192, 4096)];
  while (disk.shared + disk.copied < 3) await sleep(5);
  t.match(disk, { shared: 2, copied: 1 });
  open();
  t.same(await Promise.all(reads), ["012", "012", "012"]);
  await read(0, 8192);
  t.match(disk, { shared: 2, copied: 2 });
  t.ok(payloads.take(1), "what was answered is free again");
});

void t.test("a read that is given up keeps its slot until the server has answered", async (t) => {
  const { disk, source, payloads } = await stage(t, new Uint8Array(8192).fill(7), { slots: 1 });
  const { gate, open } = later();
  disk.gate = gate;
  const giveUp = new AbortController();
  const into = new Uint8Array(512);
  const given = source.read(into, bytes(0), { signal: giveUp.signal });
  while (disk.shared < 1) await sleep(5);
  giveUp.abort(new Error("enough"));
  t.match(await failureOf(given), { message: "enough" });
  t.equal(payloads.take(1), undefined);
  open();
  await source.read(new Uint8Array(4096), bytes(4096), { signal });
  t.same(into, new Uint8Array(512), "nothing is written into it any more");
  t.ok(payloads.take(1));
});

void t.test("what a server that is gone had is given to the next, and its last answers are not believed", async (t) => {
  const { disk, source, payloads } = await stage(t, new Uint8Array(8192).fill(7), { slots: 1 });
  const { gate, open } = later();
  disk.gate = gate;
  const into = new Uint8Array(512);
  const reading = source.read(into, bytes(0), { signal });
  while (disk.shared < 1) await sleep(5);
  payloads.takeBack();
  open();
  t.match(await failureOf(reading), { name: "DiskIoError", retryable: true });
  t.same(into, new Uint8Array(512));
  t.ok(payloads.take(1));
  t.equal(payloads.take(1), undefined, "and it is there once");
});

void t.test("a place outside of the server's memory is refused", async (t) => {
  const { disk, source } = await stage(t, new Uint8Array(8192).fill(7), { slots: 1, served: 0 });
  t.match(await failureOf(source.read(new Uint8Array(512), bytes(0), { signal })), {
    message: /the shared memory/,
  });
  t.equal(disk.shared, 0);
});

void t.test("an error leaves the slot to the next read", async (t) => {
  const { disk, source, payloads } = await stage(t, new Uint8Array(8192).fill(7), { slots: 1 });
  disk.isIll = true;
  t.match(await failureOf(source.read(new Uint8Array(512), bytes(0), { signal })), { message: /this disk is ill/ });
  t.ok(payloads.take(1));
});
