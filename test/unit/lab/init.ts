import { execFileSync } from "node:child_process";
import { mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { BusyError, ConfigError, MissingCapabilityError, RefusedError } from "../../../src/errors.js";
import { initLab } from "../../../src/lab/init.js";
import { runProgram } from "../../../src/lab/init/program.js";
import { startLab } from "../../../src/lab/lab.js";
import { silentLogger } from "../../../src/log.js";
import { testLab, SMALL_LAB } from "../../fixtures/lab.js";
import { scratch } from "../../fixtures/scratch.js";

const listen = { host: "127.0.0.1", port: 0 };
const logger = silentLogger();

await t.test("disks hold sound file systems, sparsely", async (t) => {
  const directory = scratch(t);
  await initLab(directory, SMALL_LAB);
  const before = (await stat(join(directory, "lab.json"))).mtimeMs;
  await initLab(directory, SMALL_LAB);
  t.equal((await stat(join(directory, "lab.json"))).mtimeMs, before, "the second time it does nothing");
  const flat = join(directory, "ds1/web01/web01-flat.vmdk");
  const { size, blocks } = await stat(flat);
  t.equal(size, SMALL_LAB.systemBytes);
  t.ok(blocks * 512 < size / 2);
  const table = JSON.parse(execFileSync("/usr/sbin/sfdisk", ["-J", flat], { encoding: "utf8" })) as {
    partitiontable: { label: string; partitions: { start: number }[] };
  };
  t.equal(table.partitiontable.label, "gpt");
  t.equal(table.partitiontable.partitions[0]?.start, 2048);
  const listing = execFileSync("/usr/sbin/debugfs", ["-R", "ls -p /srv/data", `${flat}?offset=1048576`], {
    encoding: "utf8",
  });
  t.match(listing, "data-001.bin");
  t.equal(
    execFileSync("/usr/sbin/e2fsck", ["-fn", `${flat}?offset=1048576`], { encoding: "utf8" }).includes("files"),
    true,
  );
  t.strictSame((await readdir(directory)).sort(), ["ds1", "lab.json"]);
});

await t.test("an interrupted init is begun anew; anything else is refused", async (t) => {
  const directory = scratch(t);
  await mkdir(join(directory, ".making/ds1"), { recursive: true });
  await initLab(directory, SMALL_LAB);
  t.ok((await readdir(directory)).includes("lab.json"));
  const other = scratch(t);
  await writeFile(join(other, "precious"), "");
  await t.rejects(initLab(other, SMALL_LAB), RefusedError);
  t.strictSame(await readdir(other), ["precious"]);
});

await t.test("programs that are missing or fail", async (t) => {
  await t.rejects(runProgram("no-such-program", [], "nothing"), MissingCapabilityError);
  await t.rejects(runProgram("ls", ["/no/such/file"], "coreutils"), /ls failed with exit code 2: .*No such file/);
});

await t.test("secrets: who can read what, and the certificate's names", async (t) => {
  const { lab, directory, lines } = await testLab(t);
  const modeOf = async (name: string) => ((await stat(join(directory, ".lab", name))).mode & 0o777).toString(8);
  t.equal(await modeOf("."), "700");
  t.equal(await modeOf("password"), "600");
  t.equal(await modeOf("tls"), "700");
  t.equal(await modeOf("tls/key.pem"), "600");
  t.match(lab.fingerprint, /^([0-9A-F]{2}:){31}[0-9A-F]{2}$/);
  const text = execFileSync("openssl", ["x509", "-in", lab.certificatePath, "-noout", "-ext", "subjectAltName"], {
    encoding: "utf8",
  });
  for (const name of ["IP Address:127.0.0.1", "IP Address:0:0:0:0:0:0:0:1", "DNS:localhost"]) t.match(text, name);
  t.notOk(JSON.stringify(lines).includes(lab.password));
  const { fingerprint, password } = lab;
  await t.rejects(
    startLab({ directory: scratch(t), listen: { ...listen, port: Number(new URL(lab.url).port) }, logger }),
    BusyError,
  );
  await lab.close();
  await using again = await startLab({ directory, listen, users: new Map([["backup", "secret"]]), logger });
  t.equal(again.fingerprint, fingerprint);
  t.equal(again.password, password);
});

await t.test("bad configuration and state are named", async (t) => {
  const directory = scratch(t);
  await writeFile(join(directory, "lab.json"), `{"version":1,"machines":{"ds1/x":{"power":"maybe"}}}`);
  await t.rejects(startLab({ directory, listen, logger }), ConfigError);
  await writeFile(join(directory, "lab.json"), "{");
  await t.rejects(startLab({ directory, listen, logger }), /Cannot use .*lab\.json/);
  await writeFile(join(directory, "lab.json"), `{"version":1}`);
  await writeFile(join(directory, ".lab/state.json"), "[]");
  await t.rejects(startLab({ directory, listen, logger }), /Cannot use .*state\.json/);
});

await t.test("a lab that was killed begins change tracking anew", async (t) => {
  const running = await testLab(t);
  const path = join(running.directory, ".lab/state.json");
  const state = await readFile(path, "utf8");
  t.match(state, `"clean": false`);
  await running.restart();
  await running.lab.close();
  t.match(await readFile(path, "utf8"), `"clean": true`);
});
