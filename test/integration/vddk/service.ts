import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import type { BlockSource } from "../../../src/block-source.js";
import { bytes } from "../../../src/units.js";
import { findVddk } from "../../../src/vddk/find-library.js";
import { HotaddLock } from "../../../src/vddk/hotadd-lock.js";
import type { DiskRequest } from "../../../src/vddk/host-protocol.js";
import type { OpenOptions, VddkService } from "../../../src/vddk/vddk-service.js";
import { PROGRAM } from "../../fixtures/host/command-line.js";
import { until } from "../../fixtures/host/until.js";
import { VDDK_8, type VddkRules } from "../../fixtures/host/vddk-stand-in.js";
import { type LibraryOptions, LibraryService, LOGIN } from "../../fixtures/vddk/library-service.js";

const SECTORS = 1000;
const { signal } = new AbortController();

interface Stage {
  readonly service: VddkService;
  readonly rules: VddkRules;
  readonly runtimeDir: string;
  readonly log: () => string;
  readonly open: (changes?: Partial<DiskRequest & OpenOptions>) => Promise<BlockSource>;
}

/** The service over one disk of 1000 sectors, whose every byte is 7. */
async function stage(
  t: Test,
  rules: readonly string[] = [],
  options: Pick<LibraryOptions, "config" | "riseAfterMs" | "signal"> = {},
): Promise<Stage> {
  const library = await LibraryService.start(t, { rules, ...options });
  const { service, runtimeDir, log } = library;
  const { request } = await library.disk("vm", Buffer.alloc(SECTORS * 512, 7));
  const own = { ...request, name: "scsi0-0" };
  return {
    ...{ service, rules: library.rules, runtimeDir, log },
    open: async (changes = {}) =>
      (await service.open({ ...own, ...changes }, { signal, otherwise: "nothing", ...changes })).source,
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

void t.test("a host that had no memory left is asked for as much again after a while", async (t) => {
  const at = await stage(t, ["latency_us=2000", "fail_read=2@3"], { riseAfterMs: 300 });
  const source = await at.open();
  const readAll = async (): Promise<unknown> =>
    Promise.allSettled(
      Array.from({ length: 16 }, (_, n) => source.read(new Uint8Array(512), bytes(n * 512), { signal })),
    );
  await readAll();
  t.match(at.log(), /is read with 2 requests at a time from now on/);
  t.notMatch(at.log(), /at a time again/);
  await until("it is asked for four at a time", async () => {
    await readAll();
    return /is read with 4 requests at a time again/.test(at.log());
  });
  t.match(at.log(), /is read with 3 requests at a time again/);
  await at.rules.set([]);
  const content = new Uint8Array(512);
  await source.read(content, bytes(0), { signal });
  t.equal(content[0], 7);
});

void t.test("a host that refuses one request at a time is not asked for two", async (t) => {
  const at = await stage(t, [], { riseAfterMs: 1_500 });
  const source = await at.open();
  for (const began = performance.now(); performance.now() - began < 4_000;) {
    await at.rules.set(["fail_read=2@1"]);
    await t.rejects(source.read(new Uint8Array(512), bytes(0), { signal }));
  }
  t.match(at.log(), /is read with 1 requests at a time from now on/);
  t.notMatch(at.log(), /at a time again/);
});

void t.test("a disk gets as many requests at a time as the configuration has buffers for", async (t) => {
  for (const [config, most] of [
    ["", 4],
    ["vixDiskLib.nfcAio.Session.BufCount=7\n", 7],
  ] as const) {
    const at = await stage(t, ["parallel=64", "latency_us=50000"], { config });
    const source = await at.open();
    await Promise.all(
      Array.from({ length: 20 }, (_, n) => source.read(new Uint8Array(512), bytes(n * 512), { signal })),
    );
    await at.service.closeDisks();
    t.match((await at.rules.events()).join(), new RegExp(String.raw`most \d+ ${most}\b`));
  }
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
  const request = {
    library,
    configFile: undefined,
    login: { ...LOGIN, turn: 0, secret: { kind: "password", password: LOGIN.password } },
    socket,
    sharedBytes: 0,
    depth: 4,
    riseAfterMs: 60_000,
    calls: "none",
    cleansUp: false,
    disks: [disk],
  };
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

/** Aborts as soon as the host hangs, and tells how long it took until that was noticed. */
async function givenUp(begin: (signal: AbortSignal) => Promise<unknown>): Promise<{ error: unknown; ms: number }> {
  const giveUp = new AbortController();
  const going = begin(giveUp.signal).catch((error: unknown) => error);
  await sleep(3_000);
  const began = performance.now();
  giveUp.abort(new Error("enough"));
  return { error: await going, ms: performance.now() - began };
}

void t.test("whoever waits for a library that hangs can give up at once", async (t) => {
  const starting = await givenUp((signal) => stage(t, ["hang=init"], { signal }));
  t.match(starting.error, { message: "enough" });
  t.ok(starting.ms < 3_000, `${Math.round(starting.ms)} ms`);
  const at = await stage(t, ["hang=open"]);
  const { pid } = at.service;
  const opening = await givenUp((signal) => at.open({ signal }));
  t.match(opening.error, { message: "enough" });
  t.ok(opening.ms < 3_000, `${Math.round(opening.ms)} ms`);
  t.notOk(existsSync(`/proc/${pid!}`), "it was killed");
  await at.service.access("end", "vmmount-x");
  t.match((await at.rules.events()).join(), /end vmmount-x/, "and vCenter is told by another one");
  t.notMatch(at.log(), /starting it again/);
});

void t.test("a disk has four requests at the library at a time, whatever that could take", async (t) => {
  const at = await stage(t, ["parallel=64", "latency_us=50000"]);
  const disks = [await at.open({ name: "one" }), await at.open({ name: "two" })];
  const reads = disks.flatMap((disk) =>
    Array.from({ length: 16 }, (_, index) => disk.read(new Uint8Array(512), bytes(index * 4096), { signal })),
  );
  await Promise.all(reads);
  await at.service.closeDisks();
  const most = (await at.rules.events()).filter((line) => line.startsWith("most "));
  t.same(most.sort(), ["most 1 4", "most 2 4"]);
});

void t.test("each call of the library is in the log with its time, and what it was called with is not", async (t) => {
  const at = await stage(t, ["fail_open=14009@1"]);
  const source = await at.open();
  await source.read(new Uint8Array(512), bytes(0), { signal });
  await at.service.closeDisks();
  const logged = (level: string, text: string): RegExp =>
    new RegExp(`"level":"${level}","message":"VixDiskLib_${text}"`);
  for (const name of ["InitEx", "ConnectEx", "GetInfo", "Close", "Disconnect"]) {
    t.match(at.log(), logged("debug", String.raw`${name}: \d+\.\d ms`));
  }
  t.match(at.log(), logged("debug", String.raw`Open: \d+\.\d ms, VDDK error 14009`));
  t.match(at.log(), logged("trace", String.raw`ReadAsync: \d+\.\d ms, queued`));
  t.match(at.log(), logged("trace", String.raw`ReadAsync: \d+\.\d ms, done`));
  t.notMatch(at.log(), LOGIN.password);
});

void t.test(
  "what the library says has the level that the library gives it, and what it always says is no warning",
  async (t) => {
    const at = await stage(t, ["snapshots=snapshot-1"]);
    await t.rejects(at.open({ snapshot: "snapshot-2" }), /does not know the snapshot/);
    t.match(at.log(), /"level":"warn","message":"VDDK: Connect: there is no snapshot snapshot-2"/);
    t.match(at.log(), /"level":"debug","message":"VDDK: Init: stand-in for VDDK/);
    t.match(at.log(), /"level":"debug","message":"VDDK: VDDK_PhoneHome: Get CEIP status failed"/);
  },
);

void t.test("a refused transport is tried for a while only if it is the last one", async (t) => {
  const at = await stage(t, ["refuse_nbdssl=14009"]);
  await t.rejects(at.open({ otherwise: "another transport" }), /refuses the connection/);
  t.equal((at.log().match(/attempt \d in/g) ?? []).length, 1);
  await t.rejects(at.open(), /refuses the connection/);
  t.equal((at.log().match(/attempt \d in/g) ?? []).length, 5);
});

void t.test("connections end with their last disk, however often the line fails", async (t) => {
  const at = await stage(t);
  const connected = async (): Promise<number> => {
    const events = await at.rules.events();
    const count = (word: string): number => events.filter((line) => line.startsWith(`${word} `)).length;
    return count("connect") - count("disconnect");
  };
  const [one, two] = [await at.open({ name: "one" }), await at.open({ name: "two" })];
  t.equal(await connected(), 1);
  for (let failures = 0; failures < 3; failures++) {
    await at.rules.set(["fail_read=14011@1", `# ${failures}`]);
    await t.rejects(one.read(new Uint8Array(512), bytes(0), { signal }));
    t.equal(await connected(), 2, "the other disk keeps its connection");
  }
  await at.rules.set(["fail_read=14011@1"]);
  await t.rejects(two.read(new Uint8Array(512), bytes(0), { signal }));
  t.equal(await connected(), 1, "and then takes the new one");
  await two.read(new Uint8Array(512), bytes(0), { signal });
  await at.service.closeDisks();
  t.equal(await connected(), 0);
});

void t.test(
  "a connection that is lost over a question for holes is made again, and the question asked again",
  async (t) => {
    const at = await stage(t);
    const source = await at.open();
    const ask = async (): Promise<unknown[]> => {
      const extents = [];
      for await (const extent of source.extents!(bytes(0), source.size, { signal })) extents.push(extent);
      return extents;
    };
    await at.rules.set(["fail_query=14011@1"]);
    t.equal((await ask()).length > 0, true);
    t.notMatch(at.log(), /count as data/);
    t.match(at.log(), /Opened .* again over nbdssl/);
  },
);

void t.test("before disks are attached to this machine, what crashed processes left is removed", async (t) => {
  const at = await stage(t, ["modes=hotadd", "left_cleaned=2", "left_remaining=1"]);
  const cleanups = async (): Promise<number> => (await at.rules.events()).filter((line) => line === "cleanup").length;
  await at.open({ mode: "hotadd" });
  await at.open({ mode: "hotadd", name: "two" });
  t.equal(await cleanups(), 1);
  t.match((await at.rules.events()).indexOf("cleanup"), 0);
  t.match(at.log(), /2 crashed processes had left.*Disks of 1 crashed processes are still attached/);
  process.kill(at.service.pid!, "SIGKILL");
  while (!/serves 2 disks again/.test(at.log())) await sleep(20);
  t.equal(await cleanups(), 2, "also of our own");
  // Another mount of the same user.
  using other = HotaddLock.open(at.runtimeDir);
  t.equal(await other.whenAlone(() => Promise.reject(new Error("the other one has disks attached"))), false);
  process.kill(at.service.pid!, "SIGKILL");
  while ((at.log().match(/serves 2 disks again/g) ?? []).length < 2) await sleep(20);
  t.equal(await cleanups(), 2, "nothing is removed while others have disks attached");
});
