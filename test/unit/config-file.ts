import { mkdirSync, rmdirSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { configFiles, readConfigFile } from "../../src/config-file.js";
import { ConfigMistakes } from "../../src/config-mistakes.js";
import { scratch } from "../fixtures/scratch.js";

void t.test("a file is its tables, and where each key stands", (t) => {
  const path = join(scratch(t), "config.toml");
  writeFileSync(path, "[mount]\nuid = 1\n");
  const { table, lines } = readConfigFile(path);
  t.match(table, { mount: { uid: 1 } });
  t.equal(lines.of(["mount", "uid"]), 2);
  writeFileSync(path, "[mount\n");
  t.throws(() => readConfigFile(path), /Cannot read configuration file/);
  t.end();
});

void t.test("a file in another encoding is refused, and a byte order mark is none of it", (t) => {
  const path = join(scratch(t), "config.toml");
  writeFileSync(path, Buffer.from('[server.a]\nuser = "J\u00f6rg"\n', "latin1"));
  t.throws(() => readConfigFile(path), { name: "ConfigError", message: /config\.toml": Line 2 is not UTF-8/ });
  writeFileSync(path, "\ufeff[mount]\r\nuid = 1\r\n");
  t.match(readConfigFile(path).table, { mount: { uid: 1 } });
  t.end();
});

void t.test("a device without an end is no configuration", (t) => {
  t.throws(() => readConfigFile("/dev/zero"), { name: "ConfigError", message: /"\/dev\/zero": It is larger than/ });
  t.end();
});

void t.test("a file that is named is the only one", (t) => {
  t.strictSame(configFiles("/a", { VMMOUNT_CONFIG: "/b" }), ["/a"]);
  t.strictSame(configFiles(undefined, { VMMOUNT_CONFIG: "/b" }), ["/b"]);
  t.end();
});

void t.test("what stands at a usual place and is no file, or a link to nothing, is not passed over", (t) => {
  const home = scratch(t);
  const path = join(home, "vmmount/config.toml");
  const found = () => configFiles(undefined, { XDG_CONFIG_HOME: home }).filter((one) => one === path);
  t.strictSame(found(), []);
  mkdirSync(path, { recursive: true });
  t.throws(found, { name: "ConfigError", message: /config\.toml": It is no file$/ });
  rmdirSync(path);
  symlinkSync("/nonexistent/config.toml", path);
  t.throws(found, { name: "ConfigError", message: /config\.toml": ENOENT/ });
  unlinkSync(path);
  symlinkSync("/dev/null", path);
  t.strictSame(found(), [path]);
  t.end();
});

void t.test("one mistake speaks for itself, none says nothing", (t) => {
  const mistakes = new ConfigMistakes();
  mistakes.refuse();
  mistakes.add({ message: "Cannot a", hint: "b" });
  t.throws(() => {
    mistakes.refuse();
  }, /^Error: Cannot a$|Cannot a$/);
  mistakes.add({ message: "Cannot c" });
  t.throws(() => {
    mistakes.refuse();
  }, /2 mistakes: \(1\) Cannot a \(b\); \(2\) Cannot c$/);
  t.end();
});
