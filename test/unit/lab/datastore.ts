import { symlink, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import t from "tap";
import { startLab } from "../../../src/lab/lab.js";
import { silentLogger } from "../../../src/log.js";
import { MIB } from "../../../src/units.js";
import { LabClient } from "../../fixtures/lab-client.js";
import { labDirectory } from "../../fixtures/host/lab-host.js";
import { SMALL_LAB, testLab } from "../../fixtures/lab.js";

const { lab, directory } = await testLab(t);
const DS = "?dcPath=dc1&dsName=ds1";
const web01 = lab.vm("web01");
const awkward =
  lab.vms
    .find((vm) => vm !== web01)
    ?.folder.split("/")
    .at(-1) ?? "";

await t.test("only for a session or a password", async (t) => {
  const client = new LabClient(lab);
  const url = `/folder/web01/web01.vmx${DS}`;
  const refused = await client.http(url);
  t.equal(refused.status, 401);
  t.match(refused.headers["www-authenticate"], /^Basic /);
  const basic = (password: string) => ({
    authorization: `Basic ${Buffer.from(`${lab.user}:${password}`).toString("base64")}`,
  });
  t.equal((await client.http(url, { headers: basic("wrong") })).status, 401);
  const allowed = await client.http(url, { headers: basic(lab.password) });
  t.equal(allowed.status, 200);
  t.match(allowed.headers["set-cookie"]?.[0], /^vmware_soap_session="/);
  await client.login();
  t.equal((await client.http(url)).status, 200);
  lab.expireSessions();
  t.equal((await client.http(url)).status, 401);
});

await t.test("files, ranges, folders", async (t) => {
  const client = await LabClient.loggedIn(lab);
  const get = (path: string, range?: string, method = "GET") =>
    client.http(`/folder/${path}${DS}`, { method, headers: range === undefined ? {} : { range } });
  const whole = await get("web01/web01.vmdk");
  t.equal(whole.headers["content-type"], "application/octet-stream");
  t.equal(whole.headers["accept-ranges"], "bytes");
  const part = await get("web01/web01.vmdk", "bytes=2-5");
  t.equal(part.status, 206);
  t.equal(part.headers["content-range"], `bytes 2-5/${whole.body.length}`);
  t.strictSame(part.body, whole.body.subarray(2, 6));
  const beyond = await get("web01/web01.vmdk", "bytes=999999-");
  t.equal(beyond.status, 416);
  t.equal(beyond.headers["content-range"], `bytes */${whole.body.length}`);
  const head = await get("web01/web01.vmdk", undefined, "HEAD");
  t.equal(head.headers["content-length"], String(whole.body.length));
  t.equal(head.body.length, 0);
  t.equal((await get("web01/absent.vmdk")).status, 404);
  t.equal((await get("web01/web01.vmdk", undefined, "DELETE")).status, 405);
  const folder = await get("web01/");
  t.match(folder.headers["content-type"], /^text\/html/);
  t.match(folder.body.toString(), `<a href="web01.vmdk">web01.vmdk</a>`);
  t.match((await client.http("/folder")).body.toString(), ">dc1<");
  t.match((await client.http("/folder?dcPath=dc1")).body.toString(), ">ds1<");
  const odd = encodeURIComponent(awkward);
  t.equal((await get(`${odd}/${odd}.vmdk`)).status, 200, "off: everything can be read");
  t.equal((await get(`${odd}/${odd}-flat.vmdk`, "bytes=0-511")).status, 206);
});

await t.test("nothing outside the datastore", async (t) => {
  const client = await LabClient.loggedIn(lab);
  await writeFile(join(directory, "outside"), "secret");
  await symlink(join(directory, "outside"), join(web01.folder, "link"));
  for (const path of [
    "../outside",
    "%2e%2e/outside",
    "web01/../../outside",
    "web01/%2e%2e%2f%2e%2e%2foutside",
    "web01/link",
  ]) {
    t.equal((await client.http(`/folder/${path}${DS}`)).status, 404, path);
  }
});

await t.test("however the lab's folder is named: by a link, by a relative path", async (t) => {
  const real = await labDirectory(t, SMALL_LAB);
  const link = join(t.testdir({}), "link");
  await symlink(real, link);
  for (const named of [link, relative(process.cwd(), real)]) {
    await using other = await startLab({
      directory: named,
      listen: { host: "127.0.0.1", port: 0 },
      logger: silentLogger(),
    });
    const client = await LabClient.loggedIn(other);
    const get = (name: string) => client.http(`/folder/web01/${name}${DS}`, { headers: { range: "bytes=0-511" } });
    t.equal((await get("web01.vmdk")).status, 206, named);
    t.equal((await get("web01-flat.vmdk")).status, 500, "and what a running machine locks is known to be locked");
    t.equal(other.vm("web01").folder, join(real, "ds1", "web01"));
  }
});

await t.test("a running machine locks its newest links, a snapshot frees the base", async (t) => {
  const client = await LabClient.loggedIn(lab);
  const get = (name: string) => client.http(`/folder/web01/${name}${DS}`, { headers: { range: "bytes=0-511" } });
  const locked = await get("web01-flat.vmdk");
  t.equal(locked.status, 500);
  t.match(locked.body.toString(), "Failed to lock the file");
  t.equal((await get("web01.vmdk")).status, 206, "descriptors are not locked");
  t.equal((await get("web01.nvram")).status, 206);
  const snapshot = await client.snapshot(web01.ref, "s");
  t.equal((await get("web01-flat.vmdk")).status, 206);
  t.equal((await get("web01-000001-delta.vmdk")).status, 500);
  t.equal((await get("web01_2-flat.vmdk")).status, 500, "an independent disk stays locked");
  const second = await client.snapshot(web01.ref, "t");
  t.equal((await get("web01-000001-delta.vmdk")).status, 206, "a link in the middle is frozen");
  await client.removeSnapshot(second);
  await client.removeSnapshot(snapshot);
  t.equal((await get("web01-flat.vmdk")).status, 500);
});

await t.test("transfers that are slow or cut, and the counters", async (t) => {
  const client = await LabClient.loggedIn(lab);
  const odd = encodeURIComponent(awkward);
  const url = `/folder/${odd}/${odd}-flat.vmdk${DS}`;
  lab.traffic.reset();
  const range = { headers: { range: `bytes=0-${2 * MIB - 1}` } };
  t.equal((await client.http(url, range)).body.length, 2 * MIB);
  const label = `[ds1] ${awkward}/${awkward}-flat.vmdk`;
  t.strictSame(lab.traffic.report().files[label], { requests: 1, bytesSent: 2 * MIB });
  const noCut = lab.rules.add({ match: { path: "/folder/" }, action: { kind: "cut", afterBytes: MIB } });
  await t.rejects(client.http(url, range), "a short body is an error");
  noCut();
  const noLimit = lab.rules.add({
    match: { object: awkward },
    action: { kind: "bandwidth", bytesPerSecond: 1024 * 1024 },
  });
  const began = performance.now();
  await client.http(url, { headers: { range: "bytes=0-131071" } });
  t.ok(performance.now() - began > 100, "128 KiB at 1 MiB/s take an eighth of a second");
  noLimit();
  const noLine = lab.rules.add({
    match: { object: awkward },
    action: { kind: "bandwidth", bytesPerSecond: MIB, scope: "line" },
  });
  const together = performance.now();
  await Promise.all([0, 1, 2, 3].map(() => client.http(url, { headers: { range: "bytes=0-65535" } })));
  t.ok(performance.now() - together > 200, "four transfers of 64 KiB over one line take a quarter of a second");
  noLine();
});
