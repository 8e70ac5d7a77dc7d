import { chmodSync, mkdirSync, rmdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { bounded } from "../../../src/check/bounded.js";
import { fail, type Finding, ok } from "../../../src/check/finding.js";
import { gravest, GRAVITY } from "../../../src/check/gravity.js";
import { checkVersions, judgeOpenFiles } from "../../../src/check/host-limits.js";
import { checkVddk, usableTransports } from "../../../src/check/host-transports.js";
import { checkLocalHost } from "../../../src/check/local-host.js";
import { EXIT_CODES } from "../../../src/exit-codes.js";
import { StatePaths } from "../../../src/mount/state-paths.js";
import type { Settings } from "../../../src/settings.js";
import { FileJournal } from "../../../src/snapshot/journal.js";
import { configIn } from "../../fixtures/mount/config.js";
import { scratch } from "../../fixtures/scratch.js";
import { sessionFacts } from "../../fixtures/snapshot-facts.js";

const { signal } = new AbortController();

async function host(settings: Settings): Promise<Map<string, Finding>> {
  const checks = await checkLocalHost({ settings, paths: new StatePaths(settings) }, signal);
  return new Map(checks.map((check) => [check.id, check]));
}

void t.test("each question has one answer, and nothing is made", async (t) => {
  const directory = scratch(t);
  const found = await host({ ...configIn(directory).settings, "cache.dir": join(directory, "a/b/cache") });
  t.strictSame(
    [...found.keys()].filter((id) => !id.startsWith("host.")),
    [],
  );
  t.equal(found.size, 12);
  t.match(found.get("host.cache"), { state: "ok", text: /can be made and has .* free of/ });
  t.match(found.get("host.sessions"), { state: "ok", text: /^0 mounts/ });
  t.throws(() => {
    rmdirSync(join(directory, "a"));
  }, "the cache directory was not made");
});

void t.test("a directory that is a file, and one of somebody else", async (t) => {
  const directory = scratch(t);
  writeFileSync(join(directory, "file"), "");
  const { settings } = configIn(directory);
  const found = await host({ ...settings, "state.dir": join(directory, "file"), "cache.dir": "/proc/self" });
  t.match(found.get("host.state"), { state: "fail", exit: "config", text: /is no directory/ });
  t.equal(found.get("host.cache")?.state, "fail", "nobody can write there, not even root");
});

void t.test("a directory behind a link to nothing, such as a disk that is not mounted, cannot be made", async (t) => {
  const directory = scratch(t);
  const { settings } = configIn(directory);
  symlinkSync("/nonexistent/disk", join(directory, "link"));
  const found = await host({ ...settings, "state.dir": join(directory, "link/vmmount") });
  t.match(found.get("host.state"), { state: "fail", exit: "config", text: /link" is a link to what is not there$/ });
});

void t.test("sessions whose daemon is gone are told of", async (t) => {
  const directory = scratch(t);
  const { settings } = configIn(directory);
  const paths = new StatePaths(settings);
  const journal = await FileJournal.create(paths.journal("k3v9q2m7xa"), "k3v9q2m7xa");
  await journal.append({ event: "planned", facts: sessionFacts({ pid: 2 ** 22 + 1 }) });
  t.match((await host(settings)).get("host.sessions"), { state: "ok", text: /^1 mounts/ });
  await journal[Symbol.asyncDispose]();
  const dead = (await host(settings)).get("host.sessions");
  t.match(dead, { state: "warn", text: /k3v9q2m7xa/, hint: /vmmount umount --all/ });
});

void t.test("VDDK is needed for what is named, and welcome otherwise", async (t) => {
  const libdir = join(scratch(t), "none");
  const answers: [Settings["mount.transport"], string, Partial<Finding>][] = [
    ["auto", libdir, { state: "fail", exit: "unavailable" }],
    [["https"], libdir, { state: "skip" }],
    [["http"], "", { state: "skip" }],
  ];
  for (const [transport, folder, wanted] of answers) {
    t.match(await checkVddk({ "mount.transport": transport, "vddk.libdir": folder }), wanted, String(transport));
  }
  const missing = { "vddk.libdir": libdir };
  t.strictSame(await usableTransports({ ...missing, "mount.transport": "auto" }), {
    vsphere: ["https"],
    xen: ["nbd", "http"],
  });
  t.strictSame(await usableTransports({ ...missing, "mount.transport": ["nbdssl", "nbd"] }), {
    vsphere: [],
    xen: ["nbd"],
  });
  const fake = join(scratch(t), "vddk");
  mkdirSync(join(fake, "lib64"), { recursive: true });
  for (const name of ["libvixDiskLib.so.8", "libdiskLibPlugin.so"]) writeFileSync(join(fake, "lib64", name), "");
  chmodSync(fake, 0o755);
  const here = { "vddk.libdir": fake, "mount.transport": ["san", "https"] as const };
  t.match(await checkVddk(here), { state: "ok", text: /^VDDK 8 / });
  t.strictSame((await usableTransports(here)).vsphere, ["san", "https"]);
});

void t.test("limits of this process and old versions", (t) => {
  const line = (soft: string): string =>
    `Max cpu time  unlimited unlimited seconds\nMax open files            ${soft}  4096  files\n`;
  t.equal(judgeOpenFiles(line("1024")).state, "ok");
  t.equal(judgeOpenFiles(line("unlimited")).state, "ok");
  t.match(judgeOpenFiles(line("256")), { state: "warn", hint: /ulimit/ });
  t.equal(judgeOpenFiles("").state, "warn");
  t.match(checkVersions("v18.19.0"), { state: "fail", exit: "unavailable" });
  t.end();
});

void t.test("a question that hangs or breaks is an answer; who gives up hears why", async (t) => {
  const hanging = await bounded("x", signal, () => new Promise<never>(() => undefined), 20);
  t.match(hanging, [{ id: "x", state: "fail", exit: "connect", text: /no answer within/ }]);
  const broken = await bounded("x", signal, () => Promise.reject(new TypeError("a bug")));
  t.match(broken, [{ state: "fail", exit: "internal", text: "a bug" }]);
  const given = new AbortController();
  const asked = bounded("x", given.signal, () => new Promise<never>(() => undefined));
  given.abort(new Error("enough"));
  await t.rejects(asked, { message: "enough" });
});

void t.test("the gravest failure decides, in an order that names every exit a question may have", (t: Test) => {
  t.equal(gravest([]), undefined);
  t.equal(gravest([ok("a", "")]), undefined);
  t.equal(gravest([fail("a", "space", ""), ok("b", ""), fail("c", "auth", ""), fail("d", "connect", "")]), "auth");
  t.equal(gravest([fail("a", "space", ""), fail("d", "unavailable", "")]), "unavailable");
  const never = ["ok", "partial", "job", "signal"];
  t.strictSame(
    [...GRAVITY].sort(),
    Object.keys(EXIT_CODES)
      .filter((name) => !never.includes(name))
      .sort(),
  );
  t.end();
});
