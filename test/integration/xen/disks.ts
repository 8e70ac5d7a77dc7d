import { readdirSync } from "node:fs";
import { setMaxListeners } from "node:events";
import t from "tap";
import { bytes, KIB, MIB } from "../../../src/units.js";
import { HostLoad } from "../../../src/xen/disks/host-load.js";
import { XenNbdDisk } from "../../../src/xen/disks/nbd-disk.js";
import { openXenDisk } from "../../../src/xen/disks/open-disk.js";
import type { XapiRecord } from "../../../src/xen/xapi/value.js";
import type { Xapi } from "../../../src/xen/xapi/xapi.js";
import { patternBytes } from "../../fixtures/block/memory.js";
import { blockSourceContract } from "../../fixtures/contract/block-source.js";
import { scratch } from "../../fixtures/scratch.js";
import { selfSigned } from "../../fixtures/self-signed.js";
import { failureOf } from "../../fixtures/snapshot-session.js";
import { diskScope, labDisk } from "../../fixtures/xen/lab-disk.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";
import { readAll } from "../../fixtures/xen/vm-records.js";

const { signal } = new AbortController();
setMaxListeners(0, signal);
const pool = await testPool(t, { profile: "8.2" });
const scope = await diskScope(t, pool);

/** Data, a hole of some MiB, data. */
function holey(): Uint8Array {
  const content = new Uint8Array(9 * MIB);
  content.set(patternBytes(MIB + 512));
  content.set(patternBytes(4 * KIB), 7 * MIB);
  return content;
}

await t.test("a disk over NBD keeps the contract of every block source", async (t) => {
  await blockSourceContract(t, {
    blockBytes: 512,
    runs: 15,
    open: async (content) => {
      const vdi = await labDisk(pool, scope, content);
      const { source, transport } = await openXenDisk(vdi, scope, { signal, transport: "nbd" });
      t.equal(transport, "nbd");
      return source;
    },
  });
});

await t.test("a disk over HTTP keeps it too", async (t) => {
  await blockSourceContract(t, {
    blockBytes: 64 * KIB,
    size: 300 * KIB + 512,
    runs: 15,
    open: async (content) => {
      const vdi = await labDisk(pool, scope, content);
      const options = { signal, transport: "http", spoolDirectory: scratch(t) } as const;
      return (await openXenDisk(vdi, scope, options)).source;
    },
  });
});

await t.test("holes are known over both, and what is read is what is there", async (t) => {
  const content = holey();
  const vdi = await labDisk(pool, scope, content);
  const directory = scratch(t);
  const progress: (number | undefined)[] = [];
  for (const transport of ["nbd", "http"] as const) {
    const opened = await openXenDisk(vdi, scope, {
      signal,
      transport,
      spoolDirectory: directory,
      onProgress: ({ percent }) => progress.push(percent),
    });
    await using source = opened.source;
    const holes: number[] = [];
    for await (const { kind, length } of source.extents!(bytes(0), source.size, { signal })) {
      if (kind === "hole") holes.push(length);
    }
    const known = holes.reduce((sum, length) => sum + length, 0);
    t.ok(known >= 4 * MIB && known <= 9 * MIB, `${transport}: ${known} bytes of holes, ${opened.allocation}`);
    t.equal(Buffer.compare(await readAll(source), content), 0, transport);
    t.equal("localFile" in source, transport === "http");
    t.strictSame(readdirSync(directory), [], "the copy has no name");
  }
  t.equal(progress.at(-1), 100);
  await using plain = (await openXenDisk(vdi, scope, { signal, allocation: "off" })).source;
  t.equal(typeof plain.extents, "undefined");
});

await t.test("another host takes over from one that is lost, and sessions may end", async (t) => {
  const content = patternBytes(4 * MIB);
  const vdi = await labDisk(pool, scope, content);
  // The second host is asked first when the first one has failed lately.
  scope.load.failed({
    address: { kind: "tcp", host: pool.lab.hosts[0]!.address, port: 1 },
    exportName: "",
    tls: undefined,
  });
  await using source = await XenNbdDisk.open(vdi, scope, signal);
  t.match(await source.place(), `${pool.lab.hosts[1]!.address}, TLS`);
  const read = async (at: number): Promise<boolean> => {
    const into = Buffer.alloc(MIB);
    await source.read(into, bytes(at), { signal });
    return Buffer.compare(into, content.subarray(at, at + MIB)) === 0;
  };
  t.ok(await read(0));
  pool.lab.expireSessions();
  t.ok(await read(MIB), "connections live on without their session, or come back with another");
  await pool.lab.stopHost(1);
  const all = await Promise.all([0, 1, 2, 3].map((index) => read(index * MIB)));
  t.strictSame(all, [true, true, true, true]);
  t.match(await source.place(), pool.lab.hosts[0]!.address);
  await pool.lab.startHost(1);
  t.ok(await read(2 * MIB));
});

await t.test("a pool that has no way to a disk for a while, or the wrong one, serves it again later", async (t) => {
  const content = patternBytes(MIB);
  const vdi = await labDisk(pool, scope, content);
  let trouble: "none" | "no host" | "another certificate" = "none";
  const call: Xapi["call"] = async (method, ...rest) => {
    const answer = await scope.xapi.call(method, ...rest);
    if (method !== "VDI.get_nbd_info" || trouble === "none") return answer;
    const places = answer as readonly XapiRecord[];
    return trouble === "no host" ? [] : places.map((place) => ({ ...place, cert: selfSigned().cert.toString() }));
  };
  const load = new HostLoad();
  load.failed({ address: { kind: "tcp", host: pool.lab.hosts[0]!.address, port: 1 }, exportName: "", tls: undefined });
  // Only calls are made with it.
  await using source = await XenNbdDisk.open(vdi, { ...scope, load, xapi: { call } as Xapi }, signal);
  const read = async (): Promise<boolean> => {
    const into = Buffer.alloc(MIB);
    await source.read(into, bytes(0), { signal });
    return into.equals(content);
  };
  t.ok(await read());
  await pool.lab.stopHost(1);
  for (trouble of ["no host", "another certificate"] as const) {
    t.match(await failureOf(read()), { name: "DiskIoError", retryable: true }, trouble);
  }
  trouble = "none";
  t.ok(await read());
  await pool.lab.startHost(1);
});

await t.test("a disk that is gone is an error soon, and a closed one at once", async (t) => {
  const vdi = await labDisk(pool, scope, patternBytes(MIB));
  const { source } = await openXenDisk(vdi, scope, { signal });
  await source[Symbol.asyncDispose]();
  t.match(await failureOf(source.read(new Uint8Array(10), bytes(0), { signal })), { message: /it was closed/ });
  const gone = { ...vdi, ref: "OpaqueRef:none", uuid: "00000000-0000-4000-8000-000000000000" };
  t.match(await failureOf(openXenDisk(gone, scope, { signal })), { name: "NotFoundError" });
  const copy = openXenDisk(gone, scope, { signal, transport: "http", spoolDirectory: scratch(t), allocation: "off" });
  t.ok((await failureOf(copy)) instanceof Error);
  t.match(await failureOf(openXenDisk(vdi, scope, { signal, transport: "http" })), {
    message: /no directory was given/,
  });
  t.match(await failureOf(openXenDisk(vdi, scope, { signal, transport: "hotadd" })), { exitCode: 69 });
});

await t.test("nothing of ours stays in the pool", (t) => {
  t.equal(pool.lab.counts()["task"], 0);
  t.strictSame(
    pool.lines.filter(({ level }) => level === "error"),
    [],
  );
  t.end();
});
