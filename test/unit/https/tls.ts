import { once } from "node:events";
import { createServer, type AddressInfo, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import t from "tap";
import { ConfigError, errorFacts } from "../../../src/errors.js";
import { connectVsphere } from "../../../src/vsphere/connect.js";
import { fetchFingerprint } from "../../../src/vsphere/fingerprint.js";
import { parseServerUrl } from "../../../src/vsphere/server-url.js";
import { normalFingerprint, peerFingerprints } from "../../../src/https/tls.js";
import { keptCertificate } from "../../../src/lab/tls.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { scratch } from "../../fixtures/scratch.js";
import { startScriptedVcenter } from "../../fixtures/vsphere/scripted-vcenter.js";

const { signal } = new AbortController();

async function failureOf(promise: Promise<unknown>) {
  return errorFacts(
    await promise.then(
      () => undefined,
      (error: unknown) => error,
    ),
  );
}

function connect(url: string, tls: Parameters<typeof connectVsphere>[0]["tls"], connectMs = 10_000) {
  const { logger } = recordingLogger();
  return connectVsphere({ url, user: "u", password: "secret", tls, logger, signal, limits: { connectMs } });
}

await t.test("fingerprints in every usual spelling", (t) => {
  const sha1 = Array.from({ length: 20 }, (_, index) => (index + 16).toString(16).toUpperCase()).join(":");
  const bare = sha1.replaceAll(":", "").toLowerCase();
  for (const text of [sha1, bare, `SHA1:${sha1}`, `sha1 Fingerprint=${sha1}`, ` ${sha1} `]) {
    t.equal(normalFingerprint(text), sha1, text);
  }
  t.equal(normalFingerprint(`SHA256:${"ab".repeat(32)}`), Array(32).fill("AB").join(":"));
  for (const text of ["", "abc", "zz".repeat(20), "ab".repeat(31)])
    t.throws(() => normalFingerprint(text), ConfigError);
  t.end();
});

await t.test("server URLs", (t) => {
  t.match(parseServerUrl("https://vc.example.org"), {
    origin: "https://vc.example.org",
    hostname: "vc.example.org",
    port: 443,
  });
  t.match(parseServerUrl("https://vc:8443/sdk"), { origin: "https://vc:8443", port: 8443 });
  t.match(parseServerUrl("https://[::1]:8443/"), { hostname: "[::1]", port: 8443 });
  for (const url of ["", "vc", "http://vc", "https://vc/ui", "https://vc/?a=b", "https://vc/#x"]) {
    t.throws(() => parseServerUrl(url), ConfigError, url);
  }
  try {
    parseServerUrl("https://root:pa55@vc");
    t.fail("credentials in the URL were taken");
  } catch (error) {
    t.notMatch(String(error), /pa55/);
  }
  t.end();
});

await t.test("nothing is sent to a server that is not trusted", async (t) => {
  await using vcenter = await startScriptedVcenter({});
  const seen = await fetchFingerprint(vcenter.url);
  t.equal((await failureOf(connect(vcenter.url, { insecure: false }))).kind, "UnreachableError");
  const wrong = { insecure: true, fingerprint: seen.sha256.replaceAll(/[0-9]/g, "A") };
  t.match(await failureOf(connect(vcenter.url, wrong)), { kind: "UnreachableError", retryable: false });
  t.strictSame(vcenter.methods(), []);
  const server = await connect(vcenter.url, { insecure: false, fingerprint: seen.sha256 });
  await server[Symbol.asyncDispose]();
  t.equal(vcenter.methods()[0], "RetrieveServiceContent");
});

await t.test("a certificate for another host name is refused, and so is a pin that is none", async (t) => {
  await using vcenter = await startScriptedVcenter({});
  t.equal((await failureOf(connect(vcenter.url, { insecure: false, fingerprint: "abc" }))).kind, "ConfigError");
  t.equal((await failureOf(connect("https://u:p@127.0.0.1", { insecure: false }))).kind, "ConfigError");
});

await t.test(
  "a certificate for another name is trusted when it is itself in the CA file, not by its CA alone",
  async (t) => {
    const mine = await keptCertificate(scratch(t), {
      commonName: "elsewhere",
      alternatives: ["DNS:elsewhere.example.org"],
    });
    const other = await keptCertificate(scratch(t), {
      commonName: "elsewhere",
      alternatives: ["DNS:elsewhere.example.org"],
    });
    const server = createTlsServer({ cert: mine.certificate, key: mine.key });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const target = { hostname: "127.0.0.1", port: (server.address() as AddressInfo).port };
    const seen = (ca: string) => peerFingerprints(target, 10_000, { ca, insecure: false });
    t.equal((await seen(`${other.certificate}${mine.certificate}`)).sha256, mine.fingerprint);
    t.match(await failureOf(seen(other.certificate)), { kind: "UnreachableError", retryable: false });
    server.close();
  },
);

await t.test("servers that speak no TLS, or nothing", async (t) => {
  const sockets: Socket[] = [];
  for (const [greet, message] of [
    [(socket: Socket) => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n"), /Cannot reach/],
    [(socket: Socket) => socket.destroy(), /Cannot reach/],
    [() => undefined, /no answer within 0.2 s/],
  ] as const) {
    const server = createServer((socket) => {
      sockets.push(socket);
      greet(socket);
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const facts = await failureOf(connect(url, { insecure: true }, 200));
    t.match(facts, { kind: "UnreachableError", code: 68, retryable: true, message });
    for (const socket of sockets) socket.destroy();
    server.close();
  }
});

await t.test("a host name that does not exist is not tried again", async (t) => {
  const facts = await failureOf(connect("https://no-such-host.invalid", { insecure: true }));
  t.equal(facts.kind, "UnreachableError");
  // Without any name server the answer is "try again" in place of "no such name".
  t.match(facts.message, /no such host name|cannot be looked up now/);
});
