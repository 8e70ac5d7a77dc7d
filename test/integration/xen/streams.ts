import { createHash } from "node:crypto";
import t from "tap";
import { connectXapi } from "../../../src/xen/connect.js";
import { XapiFault } from "../../../src/xen/xapi/fault.js";
import type { Xapi, XenHost } from "../../../src/xen/xapi/xapi.js";
import { bytes } from "../../../src/units.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";
import { countsAtRest } from "../../fixtures/xen/pool-at-rest.js";

/** Transfers both ways with the HTTP handlers of the stand-in pool, which shares no code with them. */
const { signal } = new AbortController();
const what = "Testing";
const pool = await testPool(t, { profile: "8.2" });
const { lab } = pool;

async function connect(): Promise<Xapi> {
  const { url, user, password, fingerprint } = lab;
  const { logger } = recordingLogger();
  return await connectXapi({ url, user, password, tls: { fingerprint, insecure: false }, logger, signal });
}

async function hashed(xapi: Xapi, host: XenHost, vdi: string): Promise<string> {
  await using download = await xapi.download(host, "/export_raw_vdi", { vdi, format: "raw" }, { signal, what });
  const hash = createHash("sha256");
  for await (const chunk of download.body) hash.update(chunk);
  await download.finished();
  return hash.digest("hex");
}

await t.test("a disk comes from any host; one that does not reach its storage names another", async (t) => {
  const before = await countsAtRest(lab);
  {
    await using xapi = await connect();
    const [first, second] = await xapi.hosts({ signal });
    t.match(
      [first, second],
      [
        { name: "xen1", isLive: true },
        { name: "xen2", isLive: true },
      ],
    );
    const [, local] = lab.vm("db01").disks;
    const [shared] = lab.vm("cold01").disks;
    const expected = [await lab.hashVdi(shared!.uuid), await lab.hashVdi(shared!.uuid)];
    t.strictSame([await hashed(xapi, first!, shared!.ref), await hashed(xapi, second!, shared!.uuid)], expected);
    const snapshot = await xapi.task("VM.snapshot", [lab.vm("db01").ref, "s"], { signal, what });
    const { database } = lab.pool;
    const [frozen] = database.where("VDI", "snapshot_of", local!.ref);
    t.equal(await hashed(xapi, first!, frozen!), await lab.hashVdi(frozen!), "by way of the host that was asked");
    const disks = lab.vm("db01").disks.flatMap(({ ref }) => database.where("VDI", "snapshot_of", ref));
    await xapi.task("VM.destroy", [snapshot], { signal, what });
    await countsAtRest(lab);
    for (const disk of disks) await xapi.task("VDI.destroy", [disk], { signal, what });
  }
  t.strictSame(await countsAtRest(lab), before);
});

await t.test("a handler that refuses says why, and leaves no task", async (t) => {
  await using xapi = await connect();
  const [host] = await xapi.hosts({ signal });
  const before = await countsAtRest(lab);
  const query = { vdi: "OpaqueRef:00000000-0000-0000-0000-000000000000", format: "raw" };
  const error: unknown = await xapi
    .download(host!, "/export_raw_vdi", query, { signal, what })
    .then(async (download) => {
      await using stream = download;
      for await (const chunk of stream.body) t.comment(`${chunk.length} bytes came`);
      await stream.finished();
    })
    .catch((error: unknown) => error);
  t.ok(error instanceof XapiFault && error.is("HANDLE_INVALID", "UUID_INVALID"), String(error));
  t.strictSame(await countsAtRest(lab), before);
});

await t.test("a task is not left behind whose making was not heard of", async (t) => {
  const before = await countsAtRest(lab);
  {
    await using xapi = await connect();
    const [host] = await xapi.hosts({ signal });
    const [disk] = lab.vm("cold01").disks;
    lab.rules.add({ match: { method: "task.create" }, count: 1, action: { kind: "drop", when: "after" } });
    await t.rejects(hashed(xapi, host!, disk!.uuid), { name: "UnreachableError", retryable: true });
    t.equal(await hashed(xapi, host!, disk!.uuid), await lab.hashVdi(disk!.uuid), "the next attempt works");
    t.equal(lab.counts()["task"] ?? 0, 0);
  }
  t.strictSame(await countsAtRest(lab), before);
});

await t.test("a transfer that is given up ends on the server too", async (t) => {
  await using xapi = await connect();
  const [host] = await xapi.hosts({ signal });
  const before = await countsAtRest(lab);
  const [disk] = lab.vm("cold01").disks;
  const reason = new Error("changed my mind");
  const controller = new AbortController();
  {
    const options = { signal: controller.signal, what };
    await using download = await xapi.download(host!, "/export_raw_vdi", { vdi: disk!.ref, format: "raw" }, options);
    const given: unknown = await (async () => {
      for await (const chunk of download.body) if (chunk.length > 0) controller.abort(reason);
    })().catch((error: unknown) => error);
    t.equal(given, reason);
  }
  t.strictSame(await countsAtRest(lab), before);
});

await t.test("bytes go up, and a server that takes none is told of", async (t) => {
  await using xapi = await connect();
  const [host] = await xapi.hosts({ signal });
  const [disk] = lab.vm("cold01").disks;
  const content = Buffer.alloc(disk!.bytes, "vmmount ");
  const body = { length: bytes(content.length), chunks: chunksOf(content) };
  await xapi.upload(host!, "/import_raw_vdi", { vdi: disk!.ref, format: "raw" }, body, { signal, what });
  t.equal(await lab.hashVdi(disk!.uuid), createHash("sha256").update(content).digest("hex"));
  const nowhere = { vdi: "OpaqueRef:00000000-0000-0000-0000-000000000000", format: "raw" };
  const again = { length: bytes(content.length), chunks: chunksOf(content) };
  const error: unknown = await xapi
    .upload(host!, "/import_raw_vdi", nowhere, again, { signal, what })
    .catch((error: unknown) => error);
  t.ok(error instanceof XapiFault && error.is("HANDLE_INVALID", "UUID_INVALID"), String(error));
});

async function* chunksOf(content: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += 65536) yield await Promise.resolve(content.subarray(at, at + 65536));
}
