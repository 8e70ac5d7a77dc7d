import { readFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { silentLogger } from "../../../src/log.js";
import type { NbdTarget } from "../../../src/nbd/address.js";
import { NbdConnection } from "../../../src/nbd/connection.js";
import { NbdSink } from "../../../src/nbd/nbd-sink.js";
import { NbdServer } from "../../../src/nbd/server/nbd-server.js";
import type { ServedDisk } from "../../../src/nbd/server/served-disk.js";
import { bytes, KIB, MIB } from "../../../src/units.js";
import { type WrittenServer, nbdSinkContract } from "../../fixtures/contract/nbd-sink.js";
import { MemoryDisk } from "../../fixtures/nbd/memory-disk.js";
import { nbdkitFile, qemuNbd, writeImage } from "../../fixtures/nbd/peers.js";
import { scratch } from "../../fixtures/scratch.js";
import { failureOf } from "../../fixtures/snapshot-session.js";

const OPTIONS = { connectMs: 10_000, stallMs: 20_000 };
const { signal } = new AbortController();

const over = (target: NbdTarget, image: string): WrittenServer => ({
  open: (signal) => NbdSink.open(target, OPTIONS, signal),
  content: () => readFile(image),
});

async function ourServer(t: Test, disk: ServedDisk): Promise<NbdTarget> {
  const path = join(scratch(t), "socket");
  const server = await NbdServer.listen(path, silentLogger());
  t.teardown(() => server[Symbol.asyncDispose]());
  server.add(disk);
  return { address: { kind: "unix", path }, exportName: disk.name, tls: undefined };
}

const SERVERS: Readonly<Record<string, (t: Test, content: Uint8Array) => Promise<WrittenServer>>> = {
  nbdkit: async (t, content) => {
    const image = await writeImage(t, content);
    return over((await nbdkitFile(t, image, { access: "read-write" })).target, image);
  },
  "nbdkit that wants whole blocks of 4 KiB, at most 64 KiB of them, and knows no zeros": async (t, content) => {
    const image = await writeImage(t, content);
    const options = ["--filter=blocksize-policy", "--filter=nozero"];
    const parameters = ["blocksize-minimum=4K", "blocksize-maximum=64K", "blocksize-error-policy=error"];
    return over((await nbdkitFile(t, image, { options, parameters, access: "read-write" })).target, image);
  },
  "nbdkit without FUA": async (t, content) => {
    const image = await writeImage(t, content);
    const options = ["--filter=fua"];
    return over((await nbdkitFile(t, image, { options, access: "read-write" })).target, image);
  },
  "qemu-nbd": async (t, content) => {
    const image = await writeImage(t, content);
    return over((await qemuNbd(t, image, "read-write")).target, image);
  },
  "our own": async (t, content) => {
    const disk = new MemoryDisk("a disk", content.slice());
    const target = await ourServer(t, disk);
    return {
      open: (signal) => NbdSink.open(target, OPTIONS, signal),
      content: () => Promise.resolve(disk.content),
    };
  },
};

for (const [name, serve] of Object.entries(SERVERS)) {
  void t.test(`${name} keeps the contract of what is written`, async (t) => {
    await nbdSinkContract(t, { serve, size: name.includes("whole blocks") ? 64 * 4 * KIB : 300 * KIB, runs: 10 });
  });
}

void t.test("a server that dies fails what is under way and everything after it", async (t) => {
  const image = await writeImage(t, new Uint8Array(4 * MIB));
  const { target, program } = await nbdkitFile(t, image, {
    options: ["--filter=delay"],
    parameters: ["delay-write=2"],
    access: "read-write",
  });
  await using sink = await NbdSink.open(target, OPTIONS, signal);
  const writing = failureOf(sink.write(new Uint8Array(MIB), bytes(0)));
  await new Promise((resolve) => setTimeout(resolve, 200));
  process.kill(program.pid, "SIGKILL");
  const lost = { name: "DiskIoError", retryable: false, hint: /Open the disk again/ };
  t.match(await writing, lost);
  t.match(await failureOf(sink.flush()), lost);
  t.match(await failureOf(sink.write(new Uint8Array(512), bytes(0))), lost);
});

void t.test("nobody writes to what is read-only", async (t) => {
  const image = await writeImage(t, new Uint8Array(MIB));
  for (const { target } of [await nbdkitFile(t, image), await qemuNbd(t, image)]) {
    t.match(await failureOf(NbdSink.open(target, OPTIONS, signal)), { name: "AuthError", message: /is read-only/ });
  }
});

/** Parts of a disk that can do all. */
function partsOf(disk: MemoryDisk): Pick<ServedDisk, "name" | "size" | "blockBytes" | "read"> {
  const { name, size, blockBytes } = disk;
  return { name, size, blockBytes, read: (into, at) => disk.read(into, at) };
}

void t.test("our server refuses a client that asks for more than it may", async (t) => {
  const disk = new MemoryDisk("d", new Uint8Array(MIB));
  const [plain, fua] = [
    { fua: false, signal },
    { fua: true, signal },
  ];
  await using readable = await NbdConnection.open(await ourServer(t, partsOf(disk)), OPTIONS, signal);
  t.match(readable.agreed, { isReadOnly: true, takesFlush: false, takesFua: false, takesZeroes: false });
  for (const length of [512, 4 * MIB]) {
    t.match(await failureOf(readable.requests.write(new Uint8Array(length), 0, plain)), { message: /not permitted/ });
  }
  t.match(await failureOf(readable.requests.writeZeroes(0, 512, plain)), { message: /not permitted/ });
  t.match(await failureOf(readable.requests.flush(signal)), { message: /invalid/ });

  await using writable = await NbdConnection.open(await ourServer(t, disk), OPTIONS, signal);
  const { requests } = writable;
  t.match(await failureOf(requests.write(new Uint8Array(512), MIB, plain)), { message: /no space/ });
  t.match(await failureOf(requests.writeZeroes(MIB - 512, 1024, plain)), { message: /no space/ });
  t.match(await failureOf(requests.writeZeroes(0, 2 ** 32 - 512, plain)), { message: /no space/ });
  t.match(await failureOf(requests.write(new Uint8Array(0), 0, plain)), { message: /invalid/ });
  t.match(await failureOf(requests.write(new Uint8Array(100), 0, plain)), { message: /invalid/ });
  t.match(await failureOf(requests.write(new Uint8Array(2 * MIB + 512), 0, plain)), { message: /too large/ });
  await requests.writeZeroes(0, MIB, fua);
  t.equal(disk.flushes, 1);

  // What cannot be flushed must not be believed to be on stable storage.
  const careless: ServedDisk = { ...partsOf(disk), write: disk.write };
  await using unflushable = await NbdConnection.open(await ourServer(t, careless), OPTIONS, signal);
  t.match(unflushable.agreed, { isReadOnly: false, takesFlush: false, takesFua: false });
  t.match(await failureOf(unflushable.requests.write(new Uint8Array(512), 0, fua)), { message: /invalid/ });
});
