import t from "tap";
import { serverProfileSchema, serverRetryPolicy, SETTING_KEYS, type SettingKey, SETTINGS } from "../../src/settings.js";
import { loadConfig } from "../../src/config.js";

function read(key: SettingKey, value: unknown): unknown {
  const parsed = SETTINGS[key].schema.safeParse(value);
  return parsed.success ? parsed.data : undefined;
}

void t.test("every setting has a default that it accepts, and an environment variable of its own", (t) => {
  for (const key of SETTING_KEYS) {
    t.ok(SETTINGS[key].schema.safeParse(SETTINGS[key].fallback).success, key);
    t.match(SETTINGS[key].env, /^VMMOUNT_[A-Z_]+$/);
    t.ok(SETTINGS[key].meaning.length > 10);
  }
  t.equal(new Set(SETTING_KEYS.map((key) => SETTINGS[key].env)).size, SETTING_KEYS.length);
  t.end();
});

void t.test("numbers are digits in range, wherever they come from", (t) => {
  for (const good of [0, "0", 1000, "1000", "007"]) t.equal(read("mount.uid", good), Number(good));
  const bad = ["", " ", "-1", "1.5", "0x10", "1e3", "ten", " 5", -1, 1.5, Number.NaN, 4294967295, [], {}, true, null];
  for (const one of bad) t.equal(read("mount.uid", one), undefined, JSON.stringify(one));
  t.equal(read("log.level", 7), undefined);
  t.equal(read("log.level", "6"), 6);
  t.end();
});

void t.test("a file mode has read bits only", (t) => {
  t.equal(read("mount.mode", "0440"), 0o440);
  t.equal(read("mount.mode", "400"), 0o400);
  t.equal(read("mount.mode", 440), 0o440);
  // TOML's 0o440 arrives as the number 288: better refused than misread.
  for (const bad of ["0600", "0777", "0222", "0111", "4", "04400", "0o440", "rw", 0o440, 0o400, ""]) {
    t.equal(read("mount.mode", bad), undefined, String(bad));
  }
  t.end();
});

void t.test("sizes and durations are what people write, within bounds", (t) => {
  t.equal(read("mount.cache_size", "8MiB"), 8 * 1024 * 1024);
  t.equal(read("mount.cache_size", 268435456), 268435456);
  for (const bad of ["7MiB", "-1", "much", "1EiB", ""]) t.equal(read("mount.cache_size", bad), undefined, bad);
  t.equal(read("mount.block_size", "64KiB"), 65536);
  for (const bad of ["32KiB", "8MiB", "96KiB"]) t.equal(read("mount.block_size", bad), undefined, bad);
  t.equal(read("snapshot.timeout", "90s"), 90_000);
  t.equal(read("retry.backoff", "0s"), 0);
  for (const key of ["snapshot.timeout", "snapshot.remove_timeout", "read.timeout"] as const) {
    t.equal(read(key, "0s"), undefined, `${key} of nothing`);
    t.equal(read(key, "soon"), undefined);
  }
  t.end();
});

void t.test("switches take the words of both worlds", (t) => {
  for (const yes of [true, "true", "yes", "1"]) t.equal(read("mount.allow_other", yes), true);
  for (const no of [false, "false", "no", "0"]) t.equal(read("mount.allow_other", no), false);
  for (const bad of ["", "on", "TRUE", 1, 0, null]) t.equal(read("mount.allow_other", bad), undefined, String(bad));
  t.end();
});

void t.test("directories are absolute", (t) => {
  t.equal(read("state.dir", "/srv/x"), "/srv/x");
  t.equal(read("state.dir", "x"), undefined);
  t.equal(read("runtime.dir", ""), undefined);
  t.end();
});

void t.test("serverRetryPolicy() doubles the configured wait up to two minutes", (t) => {
  const { settings } = loadConfig({ env: { HOME: "/nonexistent" }, file: "/dev/null", flags: [] });
  t.strictSame(serverRetryPolicy(settings), { retriesMax: 3, delayMs: 10_000, delayMsMax: 120_000 });
  t.end();
});

void t.test("a folder of VMs is a server without a login", (t) => {
  const problem = (profile: unknown): string | undefined =>
    serverProfileSchema.safeParse(profile).error?.issues.map(({ path, message }) => `${path.join(".")}: ${message}`)[0];
  for (const url of ["dir:///srv/vms", "dir:///", "DIR:///srv/my%20vms/", "dir:///srv/ü b"]) {
    t.equal(problem({ url }), undefined, url);
  }
  for (const url of [
    "dir://host/srv",
    "dir:/srv",
    "dir:srv",
    "dir:///a?b",
    "dir:///a#b",
    "dir:///a%zz",
    "dir:///a%00",
  ]) {
    t.match(problem({ url }), /^url: Cannot use this folder URL/, url);
  }
  for (const [key, value] of Object.entries({ user: "a", password_file: "/p", ca_file: "/c", insecure: true })) {
    t.match(problem({ url: "dir:///srv/vms", [key]: value }), new RegExp(`^${key}: Cannot log in to a folder`));
  }
  t.end();
});
