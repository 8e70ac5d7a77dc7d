import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t, { type Test } from "tap";
import type { Lab } from "../../../src/lab/lab.js";
import type { LabVm } from "../../../src/lab/lab-vm.js";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { succeed } from "../../fixtures/host/command-line.js";
import { labFor } from "../../fixtures/host/lab-host.js";
import { NOTHING_LEFT, ProxyHost } from "../../fixtures/host/proxy-host.js";
import { filesBelow, sha256 } from "../../fixtures/host/tree-facts.js";
import { nbdkitWithVddk, NOTHING_HELD, StandIn } from "../../fixtures/vddk/stand-in.js";

/*
 * What main-job.ts and the agents' tests show over https, again over each transport of VMware's library; docs/OPERATIONS.md has the
 * table. An ending and an agent go together: each is seen with each transport, and a row is one mount of some 8 seconds. Every third row,
 * so that each transport, each ending and each agent comes at least once, runs with every change; all of them with VMMOUNT_TEST_ALL=1.
 */

const MODES = ["san", "hotadd", "nbdssl", "nbd"] as const;

interface Agent {
  /** What it leaves out when it writes: holes that it was told, blocks of zeros, or nothing. */
  readonly leavesOut: "holes" | "zeros" | "nothing";
  /**
   * Backs up and restores.
   * @param disks nodes of those that are in the mount
   * @returns where the copies are, if not right in `into`
   */
  readonly copy: (mountPoint: string, into: string, disks: readonly string[]) => Promise<string | void>;
}

/** How backup agents read: with the holes that lseek tells, through the descriptor, and everything there is. */
const AGENTS = {
  "tar -S": {
    leavesOut: "holes",
    copy: async (mountPoint, into) => {
      const archive = `${into}.tar`;
      await succeed("tar", ["-C", mountPoint, "-Scf", archive, "."]);
      await succeed("tar", ["-C", into, "-xf", archive]);
    },
  },
  "cp --sparse": {
    leavesOut: "zeros",
    copy: async (mountPoint, into) => {
      await succeed("cp", ["-r", "--sparse=always", `${mountPoint}/.`, into]);
    },
  },
  "qemu-img convert": {
    leavesOut: "zeros",
    copy: async (mountPoint, into, disks) => {
      for (const disk of disks) {
        const words = ["convert", "-O", "raw", join(mountPoint, `${disk}.vmdk`), join(into, `${disk}-flat.vmdk`)];
        await succeed("qemu-img", words);
      }
    },
  },
  "dd, direct": {
    leavesOut: "zeros",
    copy: async (mountPoint, into, disks) => {
      for (const disk of disks) {
        const words = ["bs=1M", "iflag=direct", "conv=sparse", `if=${mountPoint}/${disk}-flat.vmdk`];
        await succeed("dd", [...words, `of=${join(into, `${disk}-flat.vmdk`)}`, "status=none"]);
      }
    },
  },
  "rsync --sparse": {
    leavesOut: "zeros",
    copy: async (mountPoint, into) => {
      await succeed("rsync", ["-a", "--sparse", `${mountPoint}/`, into]);
    },
  },
  restic: {
    // `restore --sparse` came with 0.15.
    leavesOut: "nothing",
    copy: async (mountPoint, into) => {
      const env = {
        RESTIC_REPOSITORY: `${into}.restic`,
        RESTIC_PASSWORD: "of the matrix",
        RESTIC_CACHE_DIR: `${into}.cache`,
      };
      for (const words of [["init"], ["backup", mountPoint], ["restore", "latest", "--target", into]]) {
        await succeed("restic", ["--quiet", ...words], { env });
      }
      return join(into, mountPoint);
    },
  },
  borg: {
    leavesOut: "zeros",
    copy: async (mountPoint, into) => {
      const env = { BORG_REPO: `${into}.borg`, BORG_PASSPHRASE: "of the matrix", BORG_BASE_DIR: `${into}.base` };
      await succeed("borg", ["init", "--encryption", "repokey"], { env });
      const chunks = ["--sparse", "--chunker-params", "fixed,1048576"];
      await succeed("borg", ["create", ...chunks, "::vm", mountPoint], { env });
      await succeed("borg", ["extract", "--sparse", "::vm"], { env, cwd: into });
      return join(into, mountPoint);
    },
  },
} as const satisfies Readonly<Record<string, Agent>>;

interface Stage {
  readonly host: ProxyHost;
  readonly standIn: StandIn;
  readonly status: SessionStatus;
  readonly env: Readonly<Record<string, string>>;
}

type Ending = (t: Test, at: Stage) => Promise<void>;

async function untilDaemonsEnd(host: ProxyHost): Promise<void> {
  while ((await host.daemons()).length > 0) await sleep(20);
}

async function umountOf(t: Test, { host, env }: Stage): Promise<string> {
  const ended = await host.vmmount(["umount", host.mountPoint], { env });
  t.equal(ended.code, 0, ended.stderr);
  return ended.stdout;
}

const ENDINGS = {
  "vmmount umount": async (t, at) => {
    await umountOf(t, at);
  },
  "umount(8)": async (t, at) => {
    await succeed("umount", [at.host.mountPoint]);
    await untilDaemonsEnd(at.host);
    await umountOf(t, at);
  },
  SIGTERM: async (t, at) => {
    process.kill(at.status.pid, "SIGTERM");
    await umountOf(t, at);
    await untilDaemonsEnd(at.host);
  },
  "SIGKILL, then vmmount umount": async (t, at) => {
    process.kill(at.status.pid, "SIGKILL");
    await untilDaemonsEnd(at.host);
    t.match(await at.standIn.left(), { open: 0, connected: 0 }, "the library's process closed the disks");
    t.match(await umountOf(t, at), /removed the snapshot/);
  },
  "umount refused while a file is open, then --force": async (t, { host, env, status }) => {
    const [disk] = status.disks;
    await using file = await open(join(host.mountPoint, disk!.file!));
    const refused = await host.vmmount(["umount", host.mountPoint], { env });
    t.equal(refused.code, 73, refused.stderr);
    t.match(refused.stderr, new RegExp(String.raw`pid ${process.pid}\b`), "it names who has it open");
    t.equal((await file.read(Buffer.alloc(512), 0, 512, 0)).bytesRead, 512, "who goes on");
    const forced = await host.vmmount(["umount", "--force", host.mountPoint], { env });
    t.equal(forced.code, 0, forced.stderr);
  },
  "a second mount refused, then vmmount umount": async (t, at) => {
    const { host, env, status } = at;
    const other = join(host.directory, "other");
    await mkdir(other);
    const second = await host.vmmount(["mount", `name:${status.vm.name}`, other], { env });
    t.equal(second.code, 73, second.stderr);
    t.ok(second.stderr.includes(host.mountPoint), "it names the holder");
    await umountOf(t, at);
  },
} as const satisfies Readonly<Record<string, Ending>>;

interface Row {
  readonly mode: (typeof MODES)[number];
  readonly release: "8.0" | "6.5";
  readonly agent: keyof typeof AGENTS;
  readonly ending: keyof typeof ENDINGS;
  /** What stands in front of PATH, with nbdkit as the library's host; vmmount's own without. */
  readonly nbdkit?: string;
}

/** With a library of 6.5, the VM that is off, whose files have names that have to be written in some other way in many places. */
function machineOf(lab: Lab, release: Row["release"]): LabVm {
  const awkward = lab.vms.find(({ name }) => name !== "web01");
  if (awkward === undefined) throw new Error("The lab has no VM with an awkward name");
  return release === "6.5" ? awkward : lab.vm("web01");
}

/** One mount from its beginning to its end. */
async function shows(t: Test, lab: Lab, row: Row): Promise<void> {
  const { mode, release, agent, ending, nbdkit } = row;
  const { sessions } = lab.traffic.report();
  const host = await ProxyHost.make(t, lab);
  const standIn = await StandIn.make(t, lab, release);
  if (nbdkit !== undefined) await standIn.set({ threads: "any" });
  const env = {
    ...standIn.env,
    VMMOUNT_VDDK_LIBDIR: standIn.libdir,
    ...(nbdkit !== undefined && { VMMOUNT_VDDK_HOST: "nbdkit", PATH: `${nbdkit}:${process.env["PATH"] ?? ""}` }),
  };
  const vm = machineOf(lab, release);
  const disks = vm.disks.filter(({ inSnapshots }) => inSnapshots);
  const args = ["mount", `name:${vm.name}`, host.mountPoint, "--transport", mode, "--json"];
  const mounted = await host.vmmount(args, { env });
  t.equal(mounted.code, 0, mounted.stderr);
  const status = JSON.parse(mounted.stdout) as SessionStatus;
  const allocation = release === "6.5" ? /everything is read/ : /as VDDK tells/;
  t.match(
    status.disks.filter(({ transport }) => transport !== undefined),
    disks.map(() => ({ transport: mode, refused: [], allocation })),
  );

  // The guest goes on; what it writes now is not the snapshot's.
  const text = `${mode} ${release} ${ending}`;
  if (vm.power === "on") await vm.guest.write(disks[0]!.key, 1024 * 1024, Buffer.alloc(4096, text));
  const copy = join(host.directory, "copy");
  await mkdir(copy);
  const nodes = disks.map(({ node }) => node);
  const copies = (await AGENTS[agent].copy(host.mountPoint, copy, nodes)) ?? copy;
  const files = await filesBelow(copies);
  for (const { key, capacity, node } of disks) {
    const name = `${node}-flat.vmdk`;
    t.equal(
      await sha256(join(copies, name)),
      await vm.hashDisk(key, vm.snapshots[0]!.ref),
      `${name} is the snapshot's`,
    );
    const hasHoles = files.find(({ path }) => path === name)!.allocated < capacity / 2;
    const { leavesOut } = AGENTS[agent];
    // VDDK 6.5 cannot be asked for holes.
    const keepsHoles = leavesOut === "zeros" || (leavesOut === "holes" && release === "8.0");
    t.equal(hasHoles, keepsHoles, `${name} ${keepsHoles ? "has its" : "has no"} holes`);
  }
  await ENDINGS[ending](t, { host, standIn, status, env });
  t.same(vm.snapshots, [], "the snapshot is gone");
  t.same(await host.leftovers(), NOTHING_LEFT);
  t.same(await standIn.left(), NOTHING_HELD);
  const opened = (await standIn.events()).filter((line) => line.startsWith(`open `) && line.includes(` ${mode} `));
  t.equal(opened.length, disks.length);
  const lost = ending === "SIGKILL, then vmmount umount" ? 1 : 0;
  t.equal(lab.traffic.report().sessions, sessions + lost, "every session is logged out, but that of a killed daemon");
}

const agents = Object.keys(AGENTS) as (keyof typeof AGENTS)[];
const endings = Object.keys(ENDINGS) as (keyof typeof ENDINGS)[];

interface Planned extends Row {
  /** Runs with every change. */
  readonly isSampled: boolean;
}

function rows(): Planned[] {
  return MODES.flatMap((mode, first) => [
    ...agents.map((agent, index): Planned => {
      const ending = endings[(index + 5 * first) % endings.length]!;
      return { mode, release: "8.0", agent, ending, isSampled: (first + index) % 3 === 0 };
    }),
    { mode, release: "6.5", agent: agents[first]!, ending: endings[first]!, isSampled: true },
  ]);
}

const nbdkit = await nbdkitWithVddk(t);
const skip = "missing" in nbdkit ? nbdkit.missing : false;
const lab = await labFor(t);
const isWhole = process.env["VMMOUNT_TEST_ALL"] === "1";
for (const { isSampled, ...row } of rows()) {
  const name = `${row.mode}, VDDK ${row.release}: ${row.agent}, ${row.ending}`;
  await t.test(
    name,
    { skip: isWhole || isSampled ? false : "two of three rows: VMMOUNT_TEST_ALL=1 runs them all" },
    (t) => shows(t, lab, row),
  );
}

for (const [index, mode] of MODES.entries()) {
  const [agent, ending] = [agents[index]!, index % 2 === 0 ? ("vmmount umount" as const) : ("SIGTERM" as const)];
  await t.test(`${mode} through nbdkit: ${agent}, ${ending}`, { skip }, async (t) => {
    await shows(t, lab, { mode, release: "8.0", agent, ending, nbdkit: "folder" in nbdkit ? nbdkit.folder : "" });
  });
}
