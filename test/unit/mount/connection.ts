import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inspect } from "node:util";
import t from "tap";
import { ConfigError, UsageError, type VmmountError } from "../../../src/errors.js";
import {
  chooseServer,
  journaledServer,
  prepareConnection,
  refuseSnapshotKind,
  refuseToQuiesce,
  rememberedServer,
  type ServerChoice,
} from "../../../src/mount/connection.js";
import { configIn } from "../../fixtures/mount/config.js";
import { scratch } from "../../fixtures/scratch.js";
import { failureOf } from "../../fixtures/snapshot-session.js";

const ONE = '[server.vc1]\nurl = "https://vc1.example.org"\nuser = "backup"\ninsecure = true\n';
const TWO = `${ONE}[server.vc2]\nurl = "https://vc2.example.org:8443/"\nuser = "other"\n`;
const CHOICE: ServerChoice = { credential: { env: {} } };

function refusal(run: () => unknown): VmmountError {
  try {
    run();
  } catch (error) {
    return error as VmmountError;
  }
  throw new Error("Nothing was refused");
}

void t.test("the timeout of a server is that of its calls", async (t) => {
  const password = join(scratch(t), "password");
  writeFileSync(password, "hunter2", { mode: 0o600 });
  const patient = `${ONE}timeout = "90s"\npassword_file = "${password}"\n`;
  const server = chooseServer(configIn(scratch(t), patient), undefined, CHOICE);
  t.match(await prepareConnection(server, CHOICE), { timeoutMs: 90_000 });
  t.throws(() => configIn(scratch(t), `${ONE}timeout = "0s"\n`), { message: /no time at all/ });
});

void t.test("chooseServer(): prefix, then flag, then default, then the only one", (t) => {
  const two = configIn(scratch(t), TWO);
  const preset = configIn(scratch(t), `default_server = "vc2"\n${TWO}`);
  t.equal(chooseServer(two, "vc2", { ...CHOICE, server: "vc1" }).name, "vc2");
  t.equal(chooseServer(preset, undefined, { ...CHOICE, server: "vc1" }).name, "vc1");
  t.equal(chooseServer(preset, undefined, CHOICE).name, "vc2");
  t.equal(chooseServer(configIn(scratch(t), ONE), undefined, CHOICE).name, "vc1");
  t.end();
});

void t.test("chooseServer() never guesses between several", (t) => {
  const two = configIn(scratch(t), TWO);
  t.match(
    refusal(() => chooseServer(two, undefined, CHOICE)),
    { name: "UsageError", message: /several are configured \(vc1, vc2\)/, hint: /--server vc1/ },
  );
  t.match(
    refusal(() => chooseServer(configIn(scratch(t)), undefined, CHOICE)),
    { name: "ConfigError", hint: /--server/ },
  );
  const unknown = (server: string): VmmountError => refusal(() => chooseServer(two, undefined, { ...CHOICE, server }));
  t.match(unknown("vc3"), { hint: /Did you mean "vc1"/ });
  t.match(unknown("something"), { hint: "Configured servers: vc1, vc2" });
  t.match(
    refusal(() => chooseServer(configIn(scratch(t)), undefined, { ...CHOICE, server: "x" })),
    { hint: /https or xen URL/ },
  );
  t.end();
});

void t.test("chooseServer() takes a URL, without credentials or path", (t) => {
  const none = configIn(scratch(t));
  const choose = (server: string) => chooseServer(none, undefined, { ...CHOICE, server });
  t.match(choose("https://vc9.example.org"), { name: "vc9.example.org", url: "https://vc9.example.org" });
  t.match(choose("HTTPS://vc9:8443/"), { name: "vc9:8443", url: "https://vc9:8443" });
  t.match(choose("https://[fd00::1]:443"), { url: "https://[fd00::1]" });
  for (const bad of ["https://me:hunter2@vc9", "https://vc9/sdk", "https://vc9?x", "https://", "https://a b"]) {
    const error = refusal(() => choose(bad));
    t.ok(error instanceof UsageError, bad);
    t.notMatch(`${error.message}${error.hint ?? ""}`, /hunter2/);
  }
  t.match(
    refusal(() => choose("http://vc9")),
    { message: /it is not configured/ },
  );
  t.end();
});

void t.test("chooseServer() lets flags beat the profile", (t) => {
  const config = configIn(scratch(t), ONE);
  const choice = { ...CHOICE, user: "me", caFile: "/ca", fingerprint: "AA", insecure: false };
  t.match(chooseServer(config, undefined, choice), { user: "me", ca_file: "/ca", fingerprint: "AA", insecure: false });
  t.match(chooseServer(config, undefined, CHOICE), { user: "backup", insecure: true });
  t.end();
});

void t.test("prepareConnection() reads CA and password, and shows the password to nobody", async (t) => {
  const directory = scratch(t);
  const ca = join(directory, "ca.pem");
  const passwordFile = join(directory, "password");
  writeFileSync(ca, "-----BEGIN CERTIFICATE-----\nx\n");
  writeFileSync(passwordFile, "hunter2\n");
  chmodSync(passwordFile, 0o600);
  const server = { ...chooseServer(configIn(directory, TWO), "vc2", CHOICE), ca_file: ca };
  const choice = { credential: { env: {}, passwordFile } };
  const connection = await prepareConnection(server, choice);
  t.match(connection, { name: "vc2", url: "https://vc2.example.org:8443", user: "other", insecure: false });
  t.match(connection.ca, /BEGIN CERTIFICATE/);
  t.equal(connection.password.reveal(), "hunter2");
  t.notMatch(
    `${inspect(connection)}${JSON.stringify(connection)}${JSON.stringify(journaledServer(connection))}`,
    /hunter2/,
  );
  t.strictSame(journaledServer(connection), {
    name: "vc2",
    url: "https://vc2.example.org:8443",
    user: "other",
    insecure: false,
    caFile: ca,
  });
  const bad = (path: string) => failureOf(prepareConnection({ ...server, ca_file: path }, choice));
  t.ok((await bad(join(directory, "none"))) instanceof ConfigError);
  t.match(await bad(passwordFile), { message: /holds no PEM certificate/ });
});

void t.test("a CA file with a damaged certificate is refused by its name", async (t) => {
  const directory = scratch(t);
  const [ca, password] = [join(directory, "ca.pem"), join(directory, "password")];
  writeFileSync(ca, "-----BEGIN CERTIFICATE-----\nZZZZ\n-----END CERTIFICATE-----\n");
  writeFileSync(password, "secret", { mode: 0o600 });
  const server = { name: "a", url: "https://a.invalid", user: "u", ca_file: ca, origin: undefined };
  await t.rejects(prepareConnection(server, { credential: { env: {}, passwordFile: password } }), {
    name: "ConfigError",
    message: /^Cannot read CA file ".*ca\.pem": Certificate 1 in it is damaged$/,
  });
});

void t.test("rememberedServer() finds the server of an earlier session again", (t) => {
  const config = configIn(scratch(t), `${TWO}fingerprint = "${"AA:".repeat(31)}AA"\n`);
  const facts = {
    name: "vc2",
    url: "https://old.example.org",
    user: "then",
    insecure: true,
    fingerprint: "BB",
    caFile: "/b",
  };
  t.match(rememberedServer(config, facts, {}), {
    name: "vc2",
    url: "https://old.example.org",
    user: "other",
    ca_file: "/b",
    fingerprint: /^AA:/,
    insecure: true,
  });
  t.match(rememberedServer(config, { ...facts, name: "gone" }, {}), {
    name: "gone",
    url: "https://old.example.org",
    fingerprint: "BB",
    origin: undefined,
  });
  const whoHas = (credential: ServerChoice["credential"]) => rememberedServer(config, facts, { credential }).user;
  t.equal(whoHas({ env: {} }), "other", "whose password is configured today");
  t.equal(whoHas({ env: {}, passwordFile: "/p" }), "then", "a password that is given is that of then");
  t.equal(rememberedServer(config, { ...facts, name: "gone" }, {}).user, "then");
  const flags = { caFile: "/c", fingerprint: "CC", insecure: false };
  t.match(rememberedServer(config, facts, flags), { ca_file: "/c", fingerprint: "CC", insecure: false });
  const byCa = rememberedServer(config, facts, { caFile: "/c" });
  t.match(byCa, { ca_file: "/c", fingerprint: undefined }, "a pin of then does not win over a CA of today");
  t.equal(rememberedServer(config, facts, { server: "vc1" }).url, facts.url, "only hosts of Xen pools are many");
  t.end();
});

void t.test("rememberedServer() goes to another host of a Xen pool where one is named", (t) => {
  const config = configIn(scratch(t), '[server.pool]\nurl = "xen://xen2.example.org"\nca_file = "/today"\n');
  const facts = { name: "xen1.example.org", url: "xen://xen1.example.org", user: "root", insecure: false };
  const pinned = { ...facts, fingerprint: "BB" };
  t.match(rememberedServer(config, pinned, {}), { url: facts.url, fingerprint: "BB" });
  const named = rememberedServer(config, pinned, { server: "pool" });
  t.match(named, { url: "xen://xen2.example.org", user: "root", ca_file: "/today", fingerprint: undefined });
  const byUrl = rememberedServer(config, pinned, { server: "xen://xen3.example.org", fingerprint: "CC" });
  t.match(byUrl, { url: "xen://xen3.example.org", fingerprint: "CC" });
  t.throws(() => rememberedServer(config, pinned, { server: "nowhere" }), { name: "UsageError" });
  t.end();
});

void t.test("a folder of VMs is chosen by its URL, asks for no password, and takes no login options", async (t) => {
  const none = configIn(scratch(t));
  const choose = (server: string, own: Partial<ServerChoice> = {}) =>
    chooseServer(none, undefined, { ...CHOICE, server, ...own });
  t.match(choose("dir:///srv/a%20b/"), { name: "dir:///srv/a%20b", url: "dir:///srv/a%20b" });
  t.equal(choose("dir:///srv", { user: "from the environment" }).user, undefined);
  t.match(
    refusal(() => choose("dir:///srv", { loginFlags: ["--user"] })),
    { name: "UsageError", message: /Cannot use --user/ },
  );
  t.match(
    refusal(() => choose("dir://host/srv")),
    { name: "UsageError", message: /three slashes/ },
  );
  const connection = await prepareConnection(choose("dir:///srv"), CHOICE);
  t.match(connection, { url: "dir:///srv", user: "", ca: undefined });
  t.throws(
    () => {
      refuseToQuiesce(choose("dir:///srv"), { ...none.settings, "snapshot.quiesce": "require" });
    },
    { name: "QuiesceError" },
  );
  refuseToQuiesce(choose("dir:///srv"), none.settings);
});

void t.test("a xen URL is a server; only such a one freezes guests in other ways", (t) => {
  const none = configIn(scratch(t));
  const choose = (server: string) => chooseServer(none, undefined, { ...CHOICE, server });
  t.match(choose("XEN://Pool.example.org:443/"), { name: "pool.example.org", url: "xen://pool.example.org" });
  const { message } = refusal(() => choose("xen://root:secret@pool"));
  t.match(message, /write "xen:\/\/host"/);
  t.notMatch(message, /secret/);
  const offline = { ...none.settings, "snapshot.kind": "offline" } as const;
  refuseSnapshotKind(choose("xen://pool"), offline);
  refuseSnapshotKind(choose("https://vc"), none.settings);
  t.match(
    refusal(() => {
      refuseSnapshotKind(choose("https://vc"), offline);
    }),
    { message: /--offline .* only Xen/ },
  );
  t.end();
});
