import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { type Config, loadConfig } from "../../src/config.js";
import { ConfigError, type VmmountError } from "../../src/errors.js";
import { SETTING_KEYS } from "../../src/settings.js";
import { scratch } from "../fixtures/scratch.js";

type Env = Record<string, string>;
type Flags = Parameters<typeof loadConfig>[0]["flags"];

function load(t: Test, toml: string, env: Env = {}, flags: Flags = []): Config {
  const file = join(scratch(t), "config.toml");
  writeFileSync(file, toml);
  return loadConfig({ file, env, flags });
}

function refusal(run: () => unknown): VmmountError {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error("Nothing was refused");
}

void t.test("without files every setting is its default", (t) => {
  const config = load(t, "");
  t.strictSame(new Set(Object.values(config.origins).map(({ kind }) => kind)), new Set(["default"]));
  t.strictSame(Object.keys(config.settings), SETTING_KEYS);
  t.equal(config.settings["mount.mode"], 0o400);
  t.equal(config.settings["mount.cache_size"], 256 * 1024 * 1024);
  t.equal(config.servers.size, 0);
  t.end();
});

void t.test("flags beat the environment, which beats files; each setting knows where it is from", (t) => {
  const toml = "[mount]\nuid = 1\ngid = 1\nread_ahead = 1\n";
  const flags = [{ key: "mount.uid", value: "3", flag: "--uid" }] as const;
  const config = load(t, toml, { VMMOUNT_UID: "2", VMMOUNT_GID: "2", VMMOUNT_MODE: "" }, flags);
  const { settings, origins } = config;
  t.strictSame([settings["mount.uid"], settings["mount.gid"], settings["mount.read_ahead"]], [3, 2, 1]);
  t.strictSame(origins["mount.uid"], { kind: "flag", name: "--uid" });
  t.strictSame(origins["mount.gid"], { kind: "env", name: "VMMOUNT_GID" });
  t.match(origins["mount.read_ahead"], { kind: "file", path: /config\.toml$/, line: 4 });
  t.strictSame(origins["mount.mode"], { kind: "default" }, "an empty variable is not set");
  t.end();
});

void t.test("the user's file is read after the machine's", (t) => {
  const home = scratch(t);
  mkdirSync(join(home, ".config/vmmount"), { recursive: true });
  const file = join(home, ".config/vmmount/config.toml");
  const server = (name: string): string => `default_server = "${name}"\n[server.${name}]\nurl = "https://${name}"\n`;
  writeFileSync(file, server("vc1"));
  t.ok(loadConfig({ env: { HOME: home }, flags: [] }).files.includes(file));
  mkdirSync(join(home, "xdg/vmmount"), { recursive: true });
  writeFileSync(join(home, "xdg/vmmount/config.toml"), server("vc2"));
  const { settings } = loadConfig({ env: { HOME: home, XDG_CONFIG_HOME: join(home, "xdg") }, flags: [] });
  t.equal(settings.default_server, "vc2");
  t.end();
});

void t.test("no file of the current directory is ever read", (t) => {
  const here = scratch(t);
  mkdirSync(join(here, "vmmount"));
  mkdirSync(join(here, ".config/vmmount"), { recursive: true });
  for (const path of ["vmmount", ".config/vmmount"]) writeFileSync(join(here, path, "config.toml"), "hostile = 1\n");
  const before = process.cwd();
  process.chdir(here);
  t.teardown(() => {
    process.chdir(before);
  });
  for (const env of [{ XDG_CONFIG_HOME: "" }, { XDG_CONFIG_HOME: "." }, { HOME: "" }, { HOME: "." }]) {
    const { files } = loadConfig({ env: { HOME: "/nonexistent", ...env }, flags: [] });
    t.notOk(
      files.some((path) => !path.startsWith("/")),
      JSON.stringify(env),
    );
  }
  t.end();
});

void t.test("a file that is named must be there and be readable", (t) => {
  const directory = scratch(t);
  const named = (file: string): VmmountError => refusal(() => loadConfig({ file, env: {}, flags: [] }));
  t.match(named(join(directory, "none.toml")), { message: /Cannot read configuration file .*ENOENT/, exitCode: 78 });
  t.match(named(directory), { message: /EISDIR/ });
  writeFileSync(join(directory, "big"), Buffer.alloc(1024 * 1024 + 1, "#"));
  t.match(named(join(directory, "big")), { message: /larger than/ });
  writeFileSync(join(directory, "bad"), "[mount\n");
  t.match(named(join(directory, "bad")), { message: /Cannot read configuration file/ });
  const env = { VMMOUNT_CONFIG: join(directory, "none.toml") };
  t.throws(() => loadConfig({ env, flags: [] }), ConfigError);
  writeFileSync(join(directory, "file"), "");
  const inFile = { XDG_CONFIG_HOME: join(directory, "file") };
  t.notOk(loadConfig({ env: inFile, flags: [] }).files.includes(join(directory, "file")), "a file is no directory");
  t.match(
    refusal(() => loadConfig({ env: { XDG_CONFIG_HOME: `/${"x".repeat(300)}` }, flags: [] })),
    { message: /Cannot look for configuration file .*ENAMETOOLONG/, hint: /--config/ },
  );
  t.end();
});

void t.test("what is not understood is refused, with the key, the file and a way out", (t) => {
  const cases: [toml: string, message: RegExp, hint?: RegExp][] = [
    ["defaul_server = 'x'", /unknown key "defaul_server" in ".*config.toml:1"/, /Did you mean "default_server"\?/],
    ["[mount]\ncache_siz = 1", /unknown key "mount.cache_siz" in ".*:2"/, /mount.cache_size/],
    ["[zzz]\nqqq = 1", /unknown key "zzz"/, /Known keys: default_server/],
    ["constructor = 1", /unknown key "constructor"/],
    ["toString = 1", /unknown key "toString"/],
    ["__proto__ = 1", /unknown key "__proto__"/],
    ["[mount]\n__proto__ = 1", /unknown key "mount.__proto__"/],
    ["mount = 3", /Cannot use "mount" in .*such as \[mount\]/],
    ["server = 3", /such as \[server\.NAME\]/],
    ["server.vc1 = 3", /"server\.vc1" in .* must be a table/],
    ["[[server]]\nurl = 'https://x'", /must be a table/],
    ["[mount]\nuid = 'me'", /Cannot use "mount.uid" from .*config.toml:2: .*an integer from 0/],
    ["[mount]\ncache_size = '1KiB'", /"mount.cache_size" .*less than 8MiB/],
    ["[snapshot]\nquiesce = 'maybe'", /"snapshot.quiesce" .*"maybe" is none of "auto", "require", "off"$/],
    ["mount.root = 'mnt'", /"mount.root" .*absolute path/],
    ["mount.name = '{nmae}'", /did you mean \{name\}/],
    ["[snapshot]\nquiesce = 'requier'", /none of .*; did you mean "require"\?/],
    ["[mount]\nallow_other = 'maybe'", /"mount.allow_other" .*"true" or "false"/],
    ["default_server = 'vc'\n[server.vc1]\nurl = 'https://x'", /no server "vc": it is none of vc1/, /"vc1"/],
    ["default_server = 'vc'", /:1: there is no server "vc": no \[server\.NAME\]/],
    ["log.file = 'x'", /absolute path/],
    ["[server.vc1]", /"server.vc1.url"/],
    ["[server.vc1]\nurl = 'http://x'", /"server.vc1.url" .*write "https:/],
    ["[server.vc1]\nurl = 'https://u:p@x'", /"server.vc1.url"/],
    ["[server.vc1]\nurl = 'https://x/sdk'", /"server.vc1.url"/],
    ["[server.vc1]\nurl = 'https://x:99999'", /host or port is not possible/],
    ["[server.vc1]\nurl = 'https://x'\nuseer = 'a'", /unknown key "server.vc1.useer"/, /server.vc1.user"/],
    ["[server.vc1]\nurl = 'https://x'\npassword_file = 'rel'", /"server.vc1.password_file"/],
    ["[server.vc1]\nurl = 'https://x'\nfingerprint = 'AA:BB'", /32 \(SHA-256\)/],
    ["[server.'a b']\nurl = 'https://x'", /server name "a b"/],
    ["[server.'a:b']\nurl = 'https://x'", /server name "a:b"/],
    ["[server.name]\nurl = 'https://x'", /server name "name".*"name:" means something else/],
  ];
  for (const [toml, message, hint] of cases) {
    const error = refusal(() => load(t, toml));
    t.match(error, { message, exitCode: 78, ...(hint && { hint }) }, toml);
  }
  const flags = [{ key: "log.level", value: "", flag: "--log-level" }] as const;
  t.match(
    refusal(() => load(t, "", {}, flags)),
    { message: /"log.level" from --log-level/ },
  );
  t.match(
    refusal(() => load(t, "", { VMMOUNT_MODE: "0777" })),
    { message: /from VMMOUNT_MODE: .*octal read bits/ },
  );
  t.end();
});

void t.test("everything that is wrong is told at once", (t) => {
  const toml = "bogus = 1\n[mount]\nuid = 'me'\ncache_siz = 1\n[server.vc1]\nurll = 'x'\ninsecure = 'perhaps'\n";
  const error = refusal(() => load(t, toml, { VMMOUNT_QUIESCE: "of" }));
  t.match(error.message, /^Cannot use the configuration, which has 7 mistakes: \(1\) /);
  for (const one of ["bogus", "mount.uid", "mount.cache_siz", "urll", "vc1.url", "vc1.insecure", "VMMOUNT_QUIESCE"]) {
    t.match(error.message, one);
  }
  t.match(error.message, /mount\.cache_siz" in "[^"]*:4" \(Did you mean "mount\.cache_size"\?\)/);
  t.notMatch(error.message, /\n/, "in one sentence");
  const many = Array.from({ length: 30 }, (_, index) => `zz${index} = 1`).join("\n");
  t.match(refusal(() => load(t, many)).message, /30 mistakes: .*\(20\) .*; and 10 more$/);
  t.end();
});

void t.test("settings that are right by themselves and wrong together are refused, with where each is from", (t) => {
  const toml = "[preexisting]\nsnapshot = 'delete'\n[mount]\ntransport = 'san:hotadd'\n";
  const error = refusal(() => load(t, toml));
  t.match(error.message, /mount\.transport = "san:hotadd" \(.*:4\), preexisting\.mount = "repair" \(default\)/);
  t.match(error.message, /preexisting\.snapshot = "delete" \(.*:2\) together: over hotadd the disks of an old mount/);
  t.match(error.hint, /both to "delete", or neither/);
  t.equal(load(t, toml, { VMMOUNT_PREEXISTING_MOUNT: "delete" }).settings["preexisting.mount"], "delete");
  t.match(load(t, toml, {}, [{ key: "mount.transport", value: "san", flag: "--transport" }]).settings, {
    "mount.transport": ["san"],
  });
  t.end();
});

void t.test("a message never shows the password that stands beside the mistake", (t) => {
  const error = refusal(() => load(t, "[server.vc1]\npassword = 'hunter2'\nurl = 'http://x'"));
  t.notMatch(`${error.message} ${error.hint ?? ""}`, /hunter2/);
  t.end();
});

void t.test("a password in the environment is refused, whatever else there is", (t) => {
  t.match(
    refusal(() => load(t, "", { VMMOUNT_PASSWORD: "x" })),
    { hint: /VMMOUNT_PASSWORD_FILE/ },
  );
  t.end();
});

void t.test("servers keep their names, and the file they are from", (t) => {
  const config = load(
    t,
    "[server.vc1]\nurl = 'https://vc1'\nuser = 'me'\ninsecure = true\n[server.vc-2]\nurl = 'https://[::1]:8443/'\n",
  );
  t.strictSame([...config.servers.keys()], ["vc1", "vc-2"]);
  t.match(config.serverOrigins.get("vc-2")?.get("url"), { kind: "file", line: 6 });
  t.match(config.servers.get("vc1"), { name: "vc1", url: "https://vc1", user: "me", insecure: true, origin: /toml$/ });
  t.end();
});
