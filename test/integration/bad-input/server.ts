import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { addMachine } from "../../fixtures/host/lab-machine.js";
import { labDirectory, labIn } from "../../fixtures/host/lab-host.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { nothingLeft, refused, refusedJson } from "../../fixtures/host/refusals.js";

/** What can be wrong with the server, the account, or the name of the VM. */
const directory = await labDirectory(t);
for (const folder of ["one", "two"]) {
  await addMachine(directory, { folder, displayName: "twin", settings: { folder: [folder] } });
}
const lab = await labIn(t, directory);

void t.test("a VM that is not there", async (t) => {
  const host = await ProxyHost.make(t, lab);
  await t.test("by name, with close names", async (t) => {
    await refused(t, host, ["mount", "name:web10", host.mountPoint], {
      exit: "not-found",
      says: [/web10/, /\/dc1\/web01/],
    });
  });
  await t.test("by path, with close names", async (t) => {
    await refused(t, host, ["mount", "/dc1/WEB01x", host.mountPoint], { exit: "not-found", says: /\/dc1\/web01/ });
  });
  for (const locator of [
    "moref:vm-99999",
    "instanceuuid:00000000-0000-0000-0000-000000000000",
    "ipaddr:192.0.2.250",
    "vmx:[ds1] no/such.vmx",
  ]) {
    await t.test(locator, async (t) => {
      await refusedJson(t, host, ["mount", locator, host.mountPoint], { exit: "not-found", says: /Cannot find VM/ });
    });
  }
  await nothingLeft(t, host, lab);
});

void t.test("two VMs of one name: both paths are told", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const says = [/\/dc1\/one\/twin/, /\/dc1\/two\/twin/, /instanceuuid:/];
  await refused(t, host, ["mount", "name:twin", host.mountPoint], { exit: "ambiguous", says });
  await nothingLeft(t, host, lab);
});

void t.test("a wrong password is sent once", async (t) => {
  const host = await ProxyHost.make(t, lab);
  const passwordFile = join(host.directory, "wrong");
  await writeFile(passwordFile, "not-the-password\n", { mode: 0o600 });
  lab.traffic.reset();
  const args = ["mount", "name:web01", host.mountPoint, "--password-file", passwordFile];
  const told = await refusedJson(t, host, args, { exit: "auth", says: /log in/i, retryable: false });
  t.notMatch(JSON.stringify(told), /not-the-password/);
  t.equal(lab.traffic.report().methods["Login"], 1, "accounts lock after a few attempts");
  await nothingLeft(t, host, lab);
});

void t.test("a certificate that nobody vouches for: the fingerprint is told, the password is not sent", async (t) => {
  const host = await ProxyHost.make(t, { ...facts(), fingerprint: undefined });
  lab.traffic.reset();
  const says = [new RegExp(lab.fingerprint), new RegExp(`--fingerprint ${lab.fingerprint}`), /self-signed|CA/];
  await refusedJson(t, host, ["mount", "name:web01", host.mountPoint], { exit: "connect", says, retryable: false });
  t.same(lab.traffic.report().methods, {}, "not one call was made");
  await nothingLeft(t, host, lab);
});

void t.test("another certificate than the pinned one", async (t) => {
  const host = await ProxyHost.make(t, { ...facts(), fingerprint: "00:".repeat(31) + "01" });
  lab.traffic.reset();
  const says = [new RegExp(lab.fingerprint), /00:00:00:00/, /pinned/];
  await refusedJson(t, host, ["mount", "name:web01", host.mountPoint], { exit: "connect", says, retryable: false });
  t.same(lab.traffic.report().methods, {}, "not one call was made");
  await nothingLeft(t, host, lab);
});

void t.test("a server that is not there", async (t) => {
  await t.test("connection refused", async (t) => {
    const host = await ProxyHost.make(t, { ...facts(), url: `https://127.0.0.1:${await freePort()}` });
    await refused(t, host, ["mount", "name:web01", host.mountPoint], { exit: "connect", says: /connection refused/ });
    await nothingLeft(t, host, lab);
  });
  await t.test("no such host name", async (t) => {
    const host = await ProxyHost.make(t, { ...facts(), url: "https://vcenter.invalid" });
    const says = /vcenter\.invalid: (no such host name|the host name cannot be looked up now)/;
    await refused(t, host, ["mount", "name:web01", host.mountPoint], { exit: "connect", says });
    await nothingLeft(t, host, lab);
  });
  await t.test("it speaks no TLS", async (t) => {
    const url = await garbageServer(t);
    const host = await ProxyHost.make(t, { ...facts(), url });
    await refused(t, host, ["mount", "name:web01", host.mountPoint], {
      exit: "connect",
      says: /the TLS handshake failed \(.*\)$/,
    });
    await nothingLeft(t, host, lab);
  });
});

/** Getters of a class do not survive a spread. */
function facts(): { url: string; user: string; passwordPath: string; fingerprint: string } {
  const { url, user, passwordPath, fingerprint } = lab;
  return { url, user, passwordPath, fingerprint };
}

/** A port that was free a moment ago. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function garbageServer(t: Test): Promise<string> {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.end("SSH-2.0-OpenSSH_9.6\r\n");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
