import { appendFile, chmod, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { NOTHING_LEFT } from "../../fixtures/host/proxy-host.js";
import { refused, refusedJson, type Refusal } from "../../fixtures/host/refusals.js";

/** A server that nobody may ask: all of this is refused before. */
const NOWHERE = { url: "https://127.0.0.1:9", user: "u", passwordPath: "/nowhere/password" };

async function mountRefused(t: Test, host: ProxyHost, more: readonly string[], refusal: Refusal): Promise<void> {
  await refused(t, host, ["mount", "name:web01", host.mountPoint, ...more], refusal);
  t.same(await host.leftovers(), NOTHING_LEFT);
}

void t.test("configuration files", async (t) => {
  const host = await ProxyHost.make(t, NOWHERE);
  const config = join(host.directory, "other.toml");
  const withConfig = async (text: string, says: Refusal["says"]): Promise<void> => {
    await writeFile(config, text, { mode: 0o600 });
    await mountRefused(t, host, ["--config", config], { exit: "config", says: says ?? [] });
  };
  await withConfig("[mount]\ncache_sise = 1\n", [
    /mount\.cache_sise/,
    /Did you mean "mount\.cache_size"\?/,
    /other\.toml/,
  ]);
  await withConfig('[mount]\ncache_size = "lots"\n', [/mount\.cache_size/, /other\.toml/]);
  await withConfig("[mount\n", [/other\.toml/]);
  await withConfig("[server.a]\nurl = 'http://a'\n", [/server\.a\.url/]);
  await refusedJson(t, host, ["status", "--config", join(host.directory, "none.toml")], {
    exit: "config",
    says: [/none\.toml/, /ENOENT/],
  });
  await mkdir(join(host.directory, "folder.toml"));
  await mountRefused(t, host, ["--config", join(host.directory, "folder.toml")], {
    exit: "config",
    says: /folder\.toml/,
  });
});

void t.test("password files", async (t) => {
  const host = await ProxyHost.make(t, NOWHERE);
  await mountRefused(t, host, [], { exit: "config", says: /\/nowhere\/password/ });
  const file = join(host.directory, "password");
  await writeFile(file, "secret-of-mine\n");
  await chmod(file, 0o644);
  await mountRefused(t, host, ["--password-file", file], {
    exit: "config",
    says: [/password/, /other users.*chmod 600/],
  });
  await writeFile(file, "");
  await chmod(file, 0o600);
  await mountRefused(t, host, ["--password-file", file], { exit: "config", says: /empty|no password/ });
  await mountRefused(t, host, ["--password-fd", "77"], { exit: "config", says: /77/ });
  const facts = await refusedJson(
    t,
    host,
    ["mount", "name:web01", host.mountPoint],
    { exit: "config", says: [/VMMOUNT_PASSWORD/, /0600/] },
    { env: { VMMOUNT_PASSWORD: "secret-of-mine" } },
  );
  t.notMatch(JSON.stringify(facts), /secret-of-mine/);
});

void t.test("certificates", async (t) => {
  const host = await ProxyHost.make(t, NOWHERE);
  const password = join(host.directory, "password");
  await writeFile(password, "p\n", { mode: 0o600 });
  const more = ["--password-file", password];
  await mountRefused(t, host, [...more, "--fingerprint", "12:34"], { exit: "config", says: [/12:34/, /SHA-256/] });
  await mountRefused(t, host, [...more, "--ca-file", password], { exit: "config", says: [/CA file/, /PEM/] });
});

void t.test("the command line", async (t) => {
  const host = await ProxyHost.make(t, NOWHERE);
  const usage = async (args: readonly string[], says: Refusal["says"]): Promise<void> => {
    await refused(t, host, args, { exit: "usage", says: says ?? [] });
  };
  await usage(["mount", "name:web01", host.mountPoint, "--no-such-option"], /--no-such-option/);
  await usage(["mounnt"], [/mounnt/, /mount/]);
  await usage(["mount"], /missing required argument/);
  await usage(["mount", "uuid:nonsense", host.mountPoint], [/nonsense/, /UUID/]);
  await usage(["mount", "name:", host.mountPoint], /nothing follows/);
  await usage(["mount", "powerstate:sleeping", host.mountPoint], /powerstate:sleeping/);
  await usage(["mount", "", host.mountPoint], /empty VM locator/);
  await usage(["umount"], /--all/);
  await usage(["mount", "name:web01", host.mountPoint, "--server", "lap"], [/"lap"/, /Did you mean "lab"\?/]);
  await refused(t, host, ["mount", "name:web01", host.mountPoint, "--quiesce", "maybe"], {
    exit: "config",
    says: /--quiesce/,
  });
  await refusedJson(t, host, ["ls", "--bogus"], { exit: "usage", says: /--bogus/ });
  t.same(await host.leftovers(), NOTHING_LEFT);
});

void t.test("two servers and none chosen", async (t) => {
  const host = await ProxyHost.make(t, NOWHERE);
  await appendFile(host.configPath, '\n[server.other]\nurl = "https://127.0.0.1:9"\n');
  await mountRefused(t, host, [], { exit: "usage", says: [/lab, other/, /--server/] });
});
