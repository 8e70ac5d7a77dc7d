import t from "tap";
import { loadConfig } from "../../src/config.js";
import { originText } from "../../src/setting-origin.js";
import { settingText } from "../../src/setting-text.js";
import { bytes, MIB } from "../../src/units.js";
import { type SettingKey, SETTING_KEYS, SETTINGS } from "../../src/settings.js";

const { settings } = loadConfig({ file: "/dev/null", env: {}, flags: [], person: { uid: 0, gid: 0, home: "/root" } });

void t.test("a value is written as the file has it", (t) => {
  for (const key of SETTING_KEYS) t.equal(settingText(key, settings[key]), String(SETTINGS[key].fallback), key);
  t.equal(settingText("mount.cache_size", bytes(1536 * MIB)), "1536MiB");
  t.equal(settingText("mount.cache_size", bytes(8 * MIB + 1)), "8388609");
  t.equal(settingText("read.timeout", 90_000), "90s");
  t.equal(settingText("read.timeout", 1500), "1500ms");
  t.equal(settingText("retry.backoff", 0), "0ms");
  t.equal(settingText("mount.transport", ["san", "https"]), "san:https");
  t.end();
});

void t.test("what is written is read back as the same", (t) => {
  for (const [key, text] of [
    ["mount.cache_size", "1GiB"],
    ["mount.mode", "0440"],
    ["snapshot.timeout", "36h"],
    ["mount.transport", "nbdssl:https"],
  ] as const satisfies (readonly [SettingKey, string])[]) {
    const value = SETTINGS[key].schema.parse(text);
    t.equal(settingText(key, value as never), text);
  }
  t.end();
});

void t.test("an origin is a place that an editor opens", (t) => {
  t.equal(originText({ kind: "default" }), "default");
  t.equal(originText({ kind: "file", path: "/etc/c.toml", line: 3 }), "/etc/c.toml:3");
  t.equal(originText({ kind: "file", path: "/etc/c.toml", line: undefined }), "/etc/c.toml");
  t.equal(originText({ kind: "env", name: "VMMOUNT_UID" }), "VMMOUNT_UID");
  t.equal(originText({ kind: "flag", name: "--uid" }), "--uid");
  t.end();
});
