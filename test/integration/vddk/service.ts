import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import type { BlockSource } from "../../../src/block-source.js";
import { bytes } from "../../../src/units.js";
import { findVddk } from "../../../src/vddk/find-library.js";
import { VddkService } from "../../../src/vddk/vddk-service.js";
import { buildVddkStandIn, VDDK_8, VddkRules } from "../../fixtures/host/vddk-stand-in.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { scratch } from "../../fixtures/scratch.js";

const PROGRAM = fileURLToPath(new URL("../../../dist/main.js", import.meta.url));
const SECTORS = 1000;
const LOGIN = { host: "vc.example", port: 443, user: "u", password: "p", thumbprint: "00", vm: "vm-1" };
const { signal } = new AbortController();

interface Stage {
  readonly service: VddkService;
  readonly rules: VddkRules;
  readonly runtimeDir: string;
  readonly log: () => string;
  readonly open: () => Promise<BlockSource>;
}

/** The service over one disk of 1000 sectors, whose every byte is 7; no mount, no server. */
async function stage(t: Test, rules: readonly string[] = []): Promise<Stage> {
  await buildVddkStandIn();
  const datastores = scratch(t);
  const folder = join(datastores, "ds1", "vm");
  await mkdir(folder, { recursive: true });
  const descriptor = `# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="vmfs"\n\nRW ${SECTORS} VMFS "vm-flat.vmdk"\n`;
  await writeFile(join(folder, "vm.vmdk"), descriptor);
  await writeFile(join(folder, "vm-flat.vmdk"), Buffer.alloc(SECTORS * 512, 7));
  const file = await VddkRules.write(t, datastores, rules);
  process.env["VIXDISKLIB_STANDIN_RULES"] = file.path;
  const { logger, lines } = recordingLogger();
  const runtimeDir = scratch(t);
  const service = await VddkService.start({
    library: await findVddk(VDDK_8),
    configFile: undefined,
    login: LOGIN,
    runtimeDir,
    program: PROGRAM,
    logger,
    stallMs: 10_000,
    allocation: "auto",
    firstRetryMs: 50,
  });
  t.teardown(() => service[Symbol.asyncDispose]());
  const request = { name: "scsi0-0", path: "[ds1] vm/vm.vmdk", mode: "nbdssl", snapshot: undefined };
  return {
    service,
    rules: file,
    runtimeDir,
    log: () => JSON.stringify(lines),
    open: async () => (await service.open(request, signal)).source,
  };
}

async function held(rules: VddkRules): Promise<number> {
  const events = await rules.events();
  return events.filter((line) => /^open/.test(line)).length - events.filter((line) => /^close/.test(line)).length;
}

void t.test("a read that fails while the disks are closed opens none of them again", async (t) => {
  const at = await stage(t, ["latency_us=400000", "fail_read=14011@1"]);
  const source = await at.open();
  const reading = source.read(new Uint8Array(512), bytes(0), { signal });
  await sleep(100);
  await Promise.all([t.rejects(reading), at.service.closeDisks()]);
  t.equal(await held(at.rules), 0);
  await at.service[Symbol.asyncDispose]();
  t.equal(await held(at.rules), 0);
  t.equal((await at.rules.events()).filter((line) => /^open/.test(line)).length, 1);
});

void t.test("what is asked while a dead host is started again waits for the new one", async (t) => {
  const at = await stage(t);
  await at.service.access("prepare", "vmmount-x");
  await at.open();
  process.kill(at.service.pid!, "SIGKILL");
  while (!/The VDDK host ended/.test(at.log())) await sleep(5);
  await at.service.closeDisks();
  await at.service.access("end", "vmmount-x");
  t.match((await at.rules.events()).join(), /end vmmount-x/);
});

void t.test(
  "whatever the moment, a service that is ended while its host is started again leaves nothing",
  async (t) => {
    for (const waitMs of [0, 500, 600]) {
      const at = await stage(t);
      await at.open();
      process.kill(at.service.pid!, "SIGKILL");
      while (!/The VDDK host ended/.test(at.log())) await sleep(5);
      await sleep(waitMs);
      const began = performance.now();
      await at.service[Symbol.asyncDispose]();
      t.ok(performance.now() - began < 15_000, `${waitMs} ms`);
      t.notOk(existsSync(`/proc/${at.service.pid!}`), "no process");
      t.same(await readdir(at.runtimeDir), []);
    }
  },
);

void t.test("a host whose daemon was killed cleans up and goes", async (t) => {
  const at = await stage(t);
  const folder = join(at.runtimeDir, "orphan");
  await mkdir(folder);
  const socket = join(folder, "nbd");
  const library = await findVddk(VDDK_8);
  const disk = { name: "d", path: "[ds1] vm/vm.vmdk", mode: "nbdssl", snapshot: undefined };
  const request = { library, configFile: undefined, login: LOGIN, socket, sharedBytes: 0, depth: 4, disks: [disk] };
  // Its parent for our part: the channel's end is what it sees of a daemon's death.
  const child = fork(PROGRAM, ["vddk-host", socket], {
    execArgv: [],
    env: process.env,
    silent: true,
  });
  t.teardown(() => child.kill("SIGKILL"));
  for (const message of [
    { type: "begin", request },
    { type: "access", what: "prepare", identity: "vmmount-orphan" },
  ]) {
    child.send(message);
    const [answer] = (await once(child, "message")) as [{ readonly type: string }];
    t.match(answer, { type: /ready|done/ });
  }
  child.disconnect();
  t.same(await once(child, "exit"), [0, null]);
  t.equal(await held(at.rules), 0);
  t.match((await at.rules.events()).join(), /end vmmount-orphan/);
  t.notOk(existsSync(folder));
});
