import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import t, { type Test } from "tap";
import { type Config, loadConfig } from "../../../src/config.js";
import { ConfigError } from "../../../src/errors.js";
import { findCredential } from "../../../src/credentials.js";
import { parseConfigJs } from "../../../src/vcb/config-js.js";
import { formatToml } from "../../../src/vcb/format-toml.js";
import { importConfig } from "../../../src/vcb/import-config.js";
import { importFile } from "../../../src/vcb/import-file.js";
import type { ImportNote } from "../../../src/vcb/notes.js";
import { VCB_SETTINGS } from "../../../src/vcb/vcb-settings.js";
import { holds } from "../../fixtures/property.js";
import { scratch } from "../../fixtures/scratch.js";

const FULL = `// VCB
BACKUPROOT="C:\\\\mnt";
HOST="vc1.example.org";
PORT="8443";
USERNAME="DOMAIN\\\\backup";
PASSWORD="hunter2 \\"quoted\\" ä";
TRANSPORT_MODE="nbdssl";
LOGLEVEL=6;
SNAPSHOT_POLICY="createonly";
VM_LOOKUP_METHOD="name";
PREEXISTING_MOUNTPOINT="delete";
PREEXISTING_VCB_SNAPSHOT="delete";
MAX_RETRIES=5;
BACKOFF_TIME=30;
`;

function load(file: string): Config {
  return loadConfig({ file, env: {}, flags: [] });
}

function imported(text: string): ReturnType<typeof importConfig> {
  return importConfig(parseConfigJs(text, "config.js"), { path: "config.js" });
}

function note(notes: readonly ImportNote[], key: string): ImportNote | undefined {
  return notes.find((one) => one.key === key);
}

function refusal(run: () => unknown): ConfigError {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error("Nothing was refused");
}

async function written(t: Test, text: string | Buffer, serverName?: string) {
  const directory = scratch(t);
  const source = join(directory, "config.js");
  writeFileSync(source, text);
  const output = join(directory, "out.toml");
  return { directory, output, ...(await importFile(source, { output, serverName })) };
}

void t.test("every key has its place, and our own loader takes the file", async (t) => {
  const { output, directory, imported } = await written(t, FULL);
  const { settings, servers } = load(output);
  t.match(servers.get("vc1"), { url: "https://vc1.example.org:8443", user: "DOMAIN\\backup" });
  t.equal(settings.default_server, "vc1");
  t.strictSame(settings["mount.transport"], ["nbdssl"]);
  t.equal(settings["log.level"], 6);
  t.equal(settings["snapshot.policy"], "createonly");
  t.equal(settings.lookup, "name");
  t.equal(settings["preexisting.mount"], "delete");
  t.equal(settings["preexisting.snapshot"], "delete");
  t.equal(settings["retry.max"], 5);
  t.equal(settings["retry.backoff"], 30_000);
  t.equal(settings["mount.root"], "/run/vmmount/mounts", "a path of Windows is not taken");
  t.match(note(imported.notes, "BACKUPROOT"), { kind: "ignored", line: 2, message: /mount\.root/ });
  t.equal(statSync(output).mode & 0o777, 0o600);
  const password = join(directory, "vc1.password");
  t.equal(statSync(password).mode & 0o777, 0o600);
  const credential = await findCredential({ server: servers.get("vc1")!, env: {} });
  t.equal(credential.password.reveal(), 'hunter2 "quoted" ä');
  const shown = readFileSync(output, "utf8") + JSON.stringify(imported);
  t.notMatch(shown, /hunter2/, "the password is nowhere else");
});

void t.test("without --output nothing is written, and the password is left out", async (t) => {
  const directory = scratch(t);
  writeFileSync(join(directory, "config.js"), FULL);
  const result = await importFile(join(directory, "config.js"), { output: undefined, serverName: "main" });
  t.strictSame(readdirSync(directory), ["config.js"]);
  t.match(result, { written: undefined, imported: { server: "main", passwordFile: undefined } });
  t.match(note(result.imported.notes, "PASSWORD"), { kind: "decide", message: /left out.*\[server\.main\]/ });
  t.notMatch(JSON.stringify(result), /hunter2/);
});

void t.test("nothing is overwritten, and nothing is left by halves", async (t) => {
  for (const there of ["out.toml", "vc1.password"]) {
    const directory = scratch(t);
    writeFileSync(join(directory, "config.js"), FULL);
    writeFileSync(join(directory, there), "precious");
    const attempt = importFile(join(directory, "config.js"), {
      output: join(directory, "out.toml"),
      serverName: undefined,
    });
    await t.rejects(attempt, new RegExp(`${there}": it exists already`));
    t.strictSame(readdirSync(directory).sort(), ["config.js", there].sort());
    t.equal(readFileSync(join(directory, there), "utf8"), "precious");
  }
  const directory = scratch(t);
  writeFileSync(join(directory, "config.js"), FULL);
  const into = (output: string): Promise<unknown> =>
    importFile(join(directory, "config.js"), { output: join(directory, output), serverName: undefined });
  await t.rejects(into("none/out.toml"), { exitCode: 78, message: /ENOENT/ });
  mkdirSync(join(directory, "d"));
  await t.rejects(importFile(directory, { output: undefined, serverName: undefined }), /EISDIR/);
  writeFileSync(join(directory, "big"), Buffer.alloc(256 * 1024 + 1, " "));
  await t.rejects(importFile(join(directory, "big"), { output: undefined, serverName: undefined }), /larger than/);
  t.notOk(existsSync(join(directory, "out.toml")));
});

void t.test("the server is named after its host, or as told", (t) => {
  const named = (host: string): [string, string | undefined] => {
    const { server, toml } = imported(`HOST="${host}";`);
    return [server, /url = "(.*?)"/.exec(toml)?.[1]];
  };
  t.strictSame(named("vcenter.example.org"), ["vcenter", "https://vcenter.example.org"]);
  t.strictSame(named("VC01"), ["VC01", "https://VC01"]);
  t.strictSame(named("10.0.0.7"), ["vc1", "https://10.0.0.7"]);
  t.strictSame(named("fe80::1"), ["vc1", "https://[fe80::1]"]);
  t.strictSame(named("[fe80::1]:8443"), ["vc1", "https://[fe80::1]:8443"]);
  t.strictSame(named("vc:444"), ["vc", "https://vc:444"]);
  for (const bad of ["https://vc1/sdk", "a b", "", "vc1:0", "vc1:99999", "u@h", "-x"]) {
    t.throws(() => named(bad), ConfigError, bad);
  }
  t.throws(() => imported('HOST="vc1";PORT=0;'), /line 1: the port/);
  t.throws(() => imported('PORT="443";'), /HOST is not set/);
  const js = parseConfigJs('HOST="vc1";', "config.js");
  t.throws(() => importConfig(js, { path: "config.js", serverName: "a b" }), /as server "a b"/);
  t.match(importConfig(js, { path: "config.js", serverName: "a.b" }).toml, /^\[server\."a\.b"\]$/m);
  t.end();
});

void t.test("what needs a decision, or is another thing here, is told", (t) => {
  const cases: [lines: string, key: string, note: Partial<Record<keyof ImportNote, unknown>> | undefined][] = [
    ['USERNAME="__sspi__";PASSWORD="";', "USERNAME", { kind: "decide", message: /account for backups/ }],
    ['USERNAME="__SSPI__";', "USERNAME", { kind: "decide" }],
    ['USERNAME="__sspi__";PASSWORD="";', "PASSWORD", { kind: "ignored", message: /empty/ }],
    ["", "USERNAME", { kind: "decide", line: undefined, message: /no user/ }],
    ["", "PASSWORD", { kind: "decide", message: /registry/ }],
    ["", "VM_LOOKUP_METHOD", { kind: "decide", message: /lookup = "ipaddr"/ }],
    ['VM_LOOKUP_METHOD="ipaddr";', "VM_LOOKUP_METHOD", undefined],
    ["", "TRANSPORT_MODE", { kind: "changed", message: /san/ }],
    ['TRANSPORT_MODE="nbd";', "TRANSPORT_MODE", { message: /not encrypted/ }],
    ["", "MAX_RETRIES", { kind: "changed" }],
    ["MAX_RETRIES=1000;", "MAX_RETRIES", { kind: "changed", message: /100 at most/ }],
    ["BACKOFF_TIME=10;", "BACKOFF_TIME", { message: /doubles/ }],
    ["LOGLEVEL=3;", "LOGLEVEL", undefined],
    ['SNAPSHOT_POLICY="automatic";', "SNAPSHOT_POLICY", { message: /_VCB-BACKUP_/ }],
    ['SNAPSHOT_POLICY="manual";', "SNAPSHOT_POLICY", undefined],
    [
      'PREEXISTING_VCB_SNAPSHOT="delete";PREEXISTING_MOUNTPOINT="delete";',
      "PREEXISTING_VCB_SNAPSHOT",
      { message: /any_owner/ },
    ],
    ['BACKUPROOT="/srv/vcb";', "BACKUPROOT", undefined],
    ['HOTS="vc1";', "HOTS", { kind: "ignored", message: /did you mean HOST\?/ }],
    ['zzzzzz="vc1";', "zzzzzz", { kind: "ignored", message: /no such key$/ }],
    ["LOGLEVEL=1;LOGLEVEL=2;", "LOGLEVEL", { kind: "repaired", message: /twice/ }],
  ];
  for (const [lines, key, wanted] of cases) {
    const found = note(imported(`HOST="vc1";\n${lines}`).notes, key);
    if (wanted === undefined) t.equal(found, undefined, lines);
    else t.match(found, wanted, `${lines} ${key}`);
  }
  t.match(imported('HOST="vc1";BACKUPROOT="/srv/vcb";').toml, /^root = "\/srv\/vcb" # BACKUPROOT$/m);
  t.end();
});

void t.test("values that VCB did not know are refused, with line and suggestion", (t) => {
  const cases: [line: string, message: RegExp, hint?: RegExp][] = [
    ['TRANSPORT_MODE="hotad";', /TRANSPORT_MODE is "hotad".*san, nbd, nbdssl, hotadd/, /"hotadd"/],
    ['SNAPSHOT_POLICY="auto";', /SNAPSHOT_POLICY/, /automatic/],
    ['VM_LOOKUP_METHOD="zzz";', /ipaddr, name/],
    ["LOGLEVEL=7;", /0 to 6/],
    ['LOGLEVEL="debug";', /0 to 6/],
    ['BACKOFF_TIME="";', /BACKOFF_TIME is no number/],
    ['BACKUPROOT="";', /BACKUPROOT is empty/],
  ];
  for (const [line, message, hint] of cases) {
    const run = (): unknown => imported(`HOST="vc1";\n${line}`);
    t.match(refusal(run), { exitCode: 78, message, ...(hint && { hint }) }, line);
    t.throws(run, /line 2/, line);
  }
  t.end();
});

void t.test("a line of TOML is one line, whatever stands in it", (t) => {
  const toml = formatToml("a\nb", [
    { section: "", lines: [{ key: "k", value: 'x\n"\\\u007f', from: "K" }] },
    { section: "empty", lines: [] },
  ]);
  t.equal(
    toml,
    '# Imported by vmmount from a_b, a configuration of VMware Consolidated Backup.\n\nk = "x\\n\\"\\\\\\u007f" # K\n',
  );
  t.end();
});

/** Files as people had them: any subset of the keys in any order, with values that VCB took. */
const WORDS = Object.entries(VCB_SETTINGS).flatMap(([key, { words }]) =>
  words === undefined ? [] : [[key, words] as const],
);
const printableText = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 24 })
  .filter((one) => !/[\u0000-\u001f\u007f-\u009f]/.test(one));
const quoted = (text: string): string => `"${text.replace(/[\\"]/g, "\\$&")}"`;
const assignments = fc.record(
  {
    HOST: fc.constantFrom('"vc1"', '"vc1.example.org"', '"10.1.2.3"', '"::1"', "\u201cvc2\u201d"),
    PORT: fc.constantFrom("443", '"8443"', '"443"'),
    USERNAME: fc.oneof(fc.constant('"__sspi__"'), printableText.map(quoted)),
    PASSWORD: fc.oneof(fc.constant('""'), printableText.map(quoted)),
    BACKUPROOT: fc.constantFrom('"C:\\\\mnt"', '"c:\\mnt"', '"/srv/vcb"'),
    LOGLEVEL: fc.integer({ min: 0, max: 6 }).map(String),
    MAX_RETRIES: fc.integer({ min: 0, max: 300 }).map(String),
    BACKOFF_TIME: fc.integer({ min: 0, max: 600 }).map(String),
    UNKNOWN_KEY: printableText.map(quoted),
    ...Object.fromEntries(WORDS.map(([key, words]) => [key, fc.constantFrom(...words).map((word) => `"${word}"`)])),
  },
  { requiredKeys: ["HOST"] },
);
const shape = fc.record({
  end: fc.constantFrom("\r\n", "\n"),
  blank: fc.constantFrom("", " ", "\t"),
  wide: fc.boolean(),
});

void t.test("whatever VCB took, our loader takes what comes of it", async (t) => {
  const directory = scratch(t);
  let run = 0;
  const property = fc.asyncProperty(assignments, shape, async (keys, { end, blank, wide }) => {
    const lines = Object.entries(keys).map(([key, value]) => `${key}${blank}=${blank}${value};${blank}// ${key}`);
    const text = `\ufeff// VCB${end}${lines.join(end)}${end}`;
    const own = join(directory, String(run++));
    mkdirSync(own);
    writeFileSync(join(own, "config.js"), Buffer.from(text, wide ? "utf16le" : "utf8"));
    const output = join(own, "config.toml");
    const { imported } = await importFile(join(own, "config.js"), { output, serverName: undefined });
    const { settings, servers } = load(output);
    const server = servers.get(imported.server);
    if (server === undefined || settings.default_server !== imported.server) return false;
    if (imported.password !== undefined) {
      const found = await findCredential({ server: { ...server, user: "any" }, env: {} });
      if (found.password.reveal() !== imported.password.reveal()) return false;
    }
    const wantsLevel = (keys as Record<string, string | undefined>)["LOGLEVEL"];
    return wantsLevel === undefined || settings["log.level"] === Number(wantsLevel);
  });
  await holds(t, property, { runs: 120 });
});
