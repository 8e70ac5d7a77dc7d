import { open as openFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import type { NbdTarget } from "../../../src/nbd/address.js";
import { NbdSource, type NbdSourceOptions } from "../../../src/nbd/nbd-source.js";
import { bytes, KIB, MIB } from "../../../src/units.js";
import { patternBytes } from "../../fixtures/block/memory.js";
import { blockSourceContract } from "../../fixtures/contract/block-source.js";
import { nbdkitFile, nbdkitTcp, nbdkitTls, qemuNbd, qemuNbdTls, writeImage } from "../../fixtures/nbd/peers.js";
import { scratch } from "../../fixtures/scratch.js";
import { selfSigned } from "../../fixtures/self-signed.js";
import { failureOf } from "../../fixtures/snapshot-session.js";

const OPTIONS: NbdSourceOptions = {
  connectMs: 10_000,
  stallMs: 20_000,
  connectionsMax: 2,
  holes: "asked of the server",
};
const { signal } = new AbortController();

const open = (target: NbdTarget, own: Partial<NbdSourceOptions> = {}): Promise<NbdSource> =>
  NbdSource.open(target, { ...OPTIONS, ...own }, signal);

const SERVERS: Readonly<Record<string, (t: Test, image: string) => Promise<NbdTarget>>> = {
  nbdkit: async (t, image) => (await nbdkitFile(t, image)).target,
  "nbdkit over TLS": async (t, image) => (await nbdkitTls(t, image)).target,
  "nbdkit that wants whole blocks of 4 KiB, at most 64 KiB of them": async (t, image) => {
    const options = ["--filter=blocksize-policy"];
    const parameters = ["blocksize-minimum=4K", "blocksize-maximum=64K", "blocksize-error-policy=error"];
    return (await nbdkitFile(t, image, { options, parameters })).target;
  },
  "nbdkit over TCP": async (t, image) => (await nbdkitTcp(t, image)).target,
  "qemu-nbd": async (t, image) => (await qemuNbd(t, image)).target,
  "qemu-nbd over TLS": async (t, image) => (await qemuNbdTls(t, image)).target,
};

for (const [name, serve] of Object.entries(SERVERS)) {
  void t.test(`${name} keeps the contract of every block source`, async (t) => {
    const isLarge = name.includes("whole blocks");
    await blockSourceContract(t, {
      open: async (content) => open(await serve(t, await writeImage(t, content))),
      runs: 20,
      // Nobody can serve half a block.
      ...(isLarge && { size: 40 * 4096 }),
    });
  });
}

void t.test("holes arrive as the servers tell them", async (t) => {
  const content = new Uint8Array(4 * MIB);
  content.fill(7, MIB, 2 * MIB);
  for (const serve of [nbdkitFile, qemuNbd]) {
    const path = join(scratch(t), "sparse");
    await writeSparse(path, content);
    await using source = await open((await serve(t, path)).target);
    const extents = [];
    for await (const extent of source.extents!(bytes(0), source.size, { signal })) extents.push(extent);
    const data = extents.filter(({ kind }) => kind === "data");
    t.strictSame(data, [{ kind: "data", start: MIB, length: MIB }]);
    t.equal(
      extents.reduce((sum, { length }) => sum + length, 0),
      4 * MIB,
    );
  }
});

async function writeSparse(path: string, content: Uint8Array): Promise<void> {
  await using file = await openFile(path, "w");
  await file.truncate(content.length);
  await file.write(content, MIB, MIB, MIB);
}

void t.test("a server that was killed is asked again when it is back, and another disk is refused", async (t) => {
  const content = patternBytes(MIB);
  const socket = join(scratch(t), "socket");
  const image = await writeImage(t, content);
  const first = await nbdkitFile(t, image, { socket });
  await using source = await open(first.target);
  const read = async (): Promise<Uint8Array> => {
    const into = new Uint8Array(64 * KIB);
    await source.read(into, bytes(3 * KIB), { signal });
    return into;
  };
  t.same(await read(), content.subarray(3 * KIB, 67 * KIB));
  await first.program.stop();
  t.match(await failureOf(read()), { name: "DiskIoError", retryable: true, message: /NBD server .*socket/ });
  t.match(await failureOf(read()), { retryable: true }, "nobody listens");
  const second = await nbdkitFile(t, image, { socket: await removed(socket) });
  t.same(await read(), content.subarray(3 * KIB, 67 * KIB));
  await second.program.stop();
  await writeFile(image, patternBytes(2 * MIB));
  await nbdkitFile(t, image, { socket: await removed(socket) });
  await failureOf(read());
  t.match(await failureOf(read()), { retryable: false, message: /another disk than before: 2097152 bytes and not/ });
});

async function removed(socket: string): Promise<string> {
  await rm(socket, { force: true });
  return socket;
}

void t.test("a server is trusted by its certificate only", async (t) => {
  const image = await writeImage(t, patternBytes(MIB));
  for (const [name, serve] of Object.entries({ nbdkit: nbdkitTls, "qemu-nbd": qemuNbdTls })) {
    await trustedByCertificate(t, name, await serve(t, image));
  }
  const plain = await nbdkitFile(t, image);
  const tls = { ca: selfSigned().cert.toString() };
  t.match(await failureOf(open({ ...plain.target, tls })), { message: /does not speak TLS/ });
});

async function trustedByCertificate(t: Test, name: string, { target, ca }: Awaited<ReturnType<typeof nbdkitTls>>) {
  const other = selfSigned().cert.toString();
  const cases: Readonly<Record<string, [NbdTarget, RegExp]>> = {
    "an unknown CA": [{ ...target, tls: {} }, /self.signed certificate/i],
    "another name": [{ ...target, tls: { ca, serverName: "xen1.example.org" } }, /altnames|does not match/i],
    "another pinned certificate": [{ ...target, tls: { certificate: other } }, /is not the expected one/],
    "a pinned certificate that is none": [{ ...target, tls: { certificate: "" } }, /cannot be read/],
    "no TLS": [{ ...target, tls: undefined }, /TLS only|wants TLS/],
  };
  for (const [what, [wrong, message]] of Object.entries(cases)) {
    t.match(await failureOf(open(wrong)), { exitCode: 68, retryable: false, message }, `${name}: ${what}`);
  }
  await using named = await open({ ...target, tls: { ca, serverName: "localhost" } });
  t.equal(named.size, MIB);
  await using pinned = await open({ ...target, tls: { certificate: ca, serverName: "xen1.example.org" } });
  t.equal(pinned.size, MIB);
}

void t.test("what is not there is named", async (t) => {
  const image = await writeImage(t, patternBytes(MIB));
  const { target } = await qemuNbd(t, image);
  t.match(await failureOf(open({ ...target, exportName: "nope" })), {
    name: "NotFoundError",
    message: /NBD export "nope" of .*: there is no such export/,
  });
  const address = { kind: "unix" as const, path: "/nonexistent/socket" };
  t.match(await failureOf(open({ ...target, address })), { exitCode: 68, message: /ENOENT/ });
  t.match(await failureOf(NbdSource.open(target, OPTIONS, AbortSignal.abort(new Error("no")))), { message: "no" });
});
