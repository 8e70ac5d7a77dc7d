import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { Bundle } from "../../../src/check/bundle.js";
import { silentLogger } from "../../../src/log.js";
import { StatePaths } from "../../../src/mount/state-paths.js";
import { FileJournal } from "../../../src/snapshot/journal.js";
import { MIB } from "../../../src/units.js";
import { connectVsphere } from "../../../src/vsphere/connect.js";
import { command } from "../../fixtures/cli/command.js";
import { labFor } from "../../fixtures/host/lab-host.js";
import { configIn } from "../../fixtures/mount/config.js";
import { scratch } from "../../fixtures/scratch.js";
import { sessionFacts } from "../../fixtures/snapshot-facts.js";

/** The support bundle: what is in it, and that no planted secret is. */
const SECRETS = {
  inline: 'Inl1ne<&"pass',
  file: "F1lepassw0rd",
  cookie: "c00kie9f8e7d6c5b4a",
  ticket: "cst-VCT-52aabbcc--tp-1A-2B-3C",
  session: "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9",
  command: "Pw0fAc0mmand",
};
const { signal } = new AbortController();
const lab = await labFor(t);
const directory = scratch(t);
writeFileSync(join(directory, "pw"), `${SECRETS.file}\n`, { mode: 0o600 });
const config = configIn(
  directory,
  `[server.lab]\nurl = "${lab.url}"\nuser = "${lab.user}"\npassword_file = "${lab.passwordPath}"\nfingerprint = "${lab.fingerprint}"
[server.gone]\nurl = "https://127.0.0.1:1"\nuser = "u"\npassword = ${JSON.stringify(SECRETS.inline)}
[server.other]\nurl = "https://127.0.0.1:1"\nuser = "u"\npassword_file = "${join(directory, "pw")}"
[hooks]\nbefore_snapshot = "mysql -p${SECRETS.command} -e 'FLUSH TABLES'"\n`,
);
const env = {
  VMMOUNT_CONFIG: join(directory, "config.toml"),
  VMMOUNT_STATE_DIR: config.settings["state.dir"],
  VMMOUNT_RUNTIME_DIR: config.settings["runtime.dir"],
};
const paths = new StatePaths(config.settings);
await paths.prepare();
const [vm] = lab.vms;
if (vm === undefined) throw new Error("the lab has no machine");

async function plant(): Promise<void> {
  const lines = [
    { msg: `Logging in with ${SECRETS.inline} and ${SECRETS.file}` },
    { msg: "sent", xml: `<password>${SECRETS.inline.replace("&", "&amp;").replace("<", "&lt;")}</password>` },
    { msg: `vmware_soap_session="${SECRETS.cookie}"; Path=/`, ticket: SECRETS.ticket },
    { msg: `/vdi?session_id=OpaqueRef:${SECRETS.session}`, ref: `OpaqueRef:${SECRETS.session}` },
  ];
  writeFileSync(paths.log("k3v9q2m7xa"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  // The cut goes through a secret that would not be recognized by its second half.
  const tail = `${"x".repeat(4 * MIB - 5)}\nthe end\n`;
  writeFileSync(paths.log("aaaaaaaaaa"), `${SECRETS.cookie}${tail}`);
  symlinkSync(join(directory, "pw"), join(paths.logs, "link.log"));
  execFileSync("mkfifo", [join(paths.logs, "pipe.log")]);
  const { ref, name } = { ref: vm?.ref ?? "", name: vm?.name ?? "" };
  const server = { name: "lab", url: lab.url, user: lab.user, insecure: false };
  const facts = sessionFacts({
    pid: 2 ** 22 + 1,
    server,
    vm: { ref, name, path: `/dc1/${name}`, instanceUuid: undefined },
  });
  await using journal = await FileJournal.create(paths.journal("k3v9q2m7xa"), "k3v9q2m7xa");
  await journal.append({ event: "planned", facts });
  await journal.append({ event: "leftover", reason: `refused: ${SECRETS.file}` });
}

await plant();
await using server = await connectVsphere({
  ...{ url: lab.url, user: lab.user, password: lab.password, logger: silentLogger(), signal },
  tls: { fingerprint: lab.fingerprint, insecure: false },
});
const spec = { name: "seen in the bundle", description: "", quiesce: false };
await server.removeSnapshot((await server.createSnapshot(vm.ref, spec, { signal })).ref, { signal });

void t.test("a bundle has all that was promised, for its owner only, and no secret", async (t) => {
  const file = join(directory, "bundle.tar");
  const made = await command(["doctor", "--bundle", file, "--json"], { env });
  t.equal(made.code, 0, made.error?.message ?? "");
  const { entries, notes } = JSON.parse(made.out) as Bundle;
  t.equal(statSync(file).mode & 0o777, 0o600);

  const bytes = readFileSync(file).toString("latin1");
  for (const [what, secret] of Object.entries({ ...SECRETS, lab: lab.password })) {
    t.notOk(bytes.includes(secret), what);
    t.notOk(bytes.includes(JSON.stringify(secret).slice(1, -1)), `${what} in JSON`);
    t.notOk(made.out.includes(secret), `${what} in the answer`);
  }
  t.notOk(bytes.includes(SECRETS.cookie.slice(5)), "nor half of one");

  const unpacked = join(directory, "unpacked");
  mkdirSync(unpacked);
  execFileSync("tar", ["-xf", file, "-C", unpacked, "--strip-components=1"]);
  const read = (name: string) => readFileSync(join(unpacked, name), "utf8");
  for (const name of [
    "README.txt",
    "versions.json",
    "config.json",
    "check.json",
    "mounts.txt",
    "logs/k3v9q2m7xa.log",
  ]) {
    t.ok(existsSync(join(unpacked, name)), name);
  }
  t.match(JSON.parse(read("versions.json")), { node: process.version, fusermount: String, vddk: String });
  t.match(JSON.parse(read("check.json")), { summary: { ok: Number } });
  t.match(read("logs/k3v9q2m7xa.log"), /Logging in with \[redacted\] and \[redacted\]/);
  t.match(read("sessions/k3v9q2m7xa.journal"), /"planned"[\s\S]*refused: \[redacted\]/);
  t.equal(read("logs/aaaaaaaaaa.log").trim(), "the end", "a long log is cut at a line");
  t.match(read("config.json"), /"login": "in the file"/);
  const [story] = [JSON.parse(read("servers/1.json")) as { vms: { happenings: { text: string }[] }[] }];
  t.match(story, { server: "lab", product: /vCenter/ });
  t.ok(
    story.vms[0]?.happenings.some(({ text }) => text.includes("createSnapshot")),
    "tasks of the VM of our session",
  );
  t.match(JSON.parse(read("servers/2.json")), { server: "gone", note: /refused/ });
  t.match(
    notes,
    [/aaaaaaaaaa\.log is cut/, /gone: /, /other: /].map(() => String),
  );
  t.ok(
    notes.some((note) => note.includes("link.log")),
    "a link is not followed",
  );
  t.ok(
    notes.some((note) => note.includes("pipe.log")),
    "nor a pipe waited for",
  );
  t.equal(entries.length, execFileSync("tar", ["-tf", file], { encoding: "utf8" }).trim().split("\n").length);

  t.match(await command(["doctor", "--bundle", file], { env }), { code: 79, error: { message: /there already/ } });
  t.match(await command(["doctor", "--bundle", join(directory, "none/x.tar")], { env }), { code: 78 });
  t.equal(lab.traffic.report().sessions, 0, "every session is logged out");
});
