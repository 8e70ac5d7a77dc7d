import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { dirUrl } from "../../src/dir-url.js";
import type { Lab } from "../../src/lab/lab.js";
import type { SessionStatus } from "../../src/mount/control-protocol.js";
import { MIB } from "../../src/units.js";
import { PROGRAM, run } from "../fixtures/host/command-line.js";
import { labFor } from "../fixtures/host/lab-host.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";
import { vmFolderFor } from "../fixtures/host/vm-folder.js";
import { StandIn } from "../fixtures/vddk/stand-in.js";
import { SMALL_POOL, testPool } from "../fixtures/xen/lab-pool.js";

/*
 * The promise of docs/OPERATIONS.md: the daemon of a mount never takes more than 120 MB for itself, 64 MB for what is under
 * way, and cache_size. Peak memory (VmHWM) is the kernel's own record, so nothing between two looks is missed.
 */
const OWN_BYTES_MAX = 120e6;
const UNDER_WAY_BYTES_MAX = 64e6;
/** A daemon that nobody reads from. */
const IDLE_BYTES_MAX = 120e6;

async function memory(pid: number): Promise<{ readonly now: number; readonly peak: number }> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const field = (name: string): number => Number(new RegExp(`^${name}:\\s*(\\d+) kB$`, "m").exec(status)?.[1]) * 1024;
  return { now: field("VmRSS"), peak: field("VmHWM") };
}

async function shell(script: string, ...args: readonly string[]): Promise<void> {
  const child = spawn("sh", ["-ec", script, "sh", ...args], { stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (text: Buffer) => (stderr += text.toString()));
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new Error(`"${script}" ended with ${code ?? "a signal"}: ${stderr}`);
}

const RANDOM = `python3 - "$1" "$2" <<'END'
import os, random, sys
path, seed = sys.argv[1:]
dice = random.Random(int(seed))
file = os.open(path, os.O_RDONLY | os.O_DIRECT)
import mmap
buffer = mmap.mmap(-1, 4096)
for _ in range(1000):
    os.preadv(file, [buffer], dice.randrange(os.path.getsize(path) // 4096) * 4096)
END`;

/** All kinds of readers at once: sequential in small and large pieces, direct, several places of one file, jumping. */
async function readHard(images: readonly string[]): Promise<void> {
  await Promise.all(
    images.flatMap((image, index) => [
      shell('dd if="$1" of=/dev/null bs=1M', image),
      shell('dd if="$1" of=/dev/null bs=4M iflag=direct', image),
      shell('dd if="$1" of=/dev/null bs=64k skip=100', image),
      shell(RANDOM, image, String(index)),
      shell(RANDOM, image, String(index + 100)),
    ]),
  );
}

/** What the VDDK host takes for itself, VMware's library not counted, and what it has in common with the daemon, which both count. */
const HOST_BYTES_MAX = 120e6;
const SHARED_BYTES = 16 * 2 * MIB;

interface Case {
  readonly cacheBytes: number;
  readonly transport: "https" | "nbdssl" | "file";
  readonly driver?: "kernel" | "fuse-native";
}

const CASES: readonly Case[] = [
  { cacheBytes: 8 * MIB, transport: "https" },
  { cacheBytes: 64 * MIB, transport: "https" },
  { cacheBytes: 64 * MIB, transport: "nbdssl" },
  { cacheBytes: 8 * MIB, transport: "https", driver: "fuse-native" },
  // Read by the daemon, as on a kernel that passes nothing through.
  { cacheBytes: 8 * MIB, transport: "file" },
];

async function hostFor(t: Test, transport: Case["transport"]): Promise<{ host: ProxyHost; lab?: Lab }> {
  if (transport === "file") return { host: await ProxyHost.make(t, { url: dirUrl(await vmFolderFor(t)) }) };
  const lab = await labFor(t);
  return { host: await ProxyHost.make(t, lab), lab };
}

/** Without the environment of the test: counting coverage takes memory, and users do not do it. */
function environmentOf(host: ProxyHost, cacheBytes: number): string[] {
  return [
    `PATH=${process.env["PATH"] ?? ""}`,
    `VMMOUNT_CONFIG=${host.configPath}`,
    `VMMOUNT_CACHE_SIZE=${cacheBytes}`,
    "VMMOUNT_PASSTHROUGH=off",
  ];
}

for (const { cacheBytes, transport, driver = "kernel" } of CASES) {
  const title = `memory stays in its bound with ${cacheBytes / MIB} MiB of cache, ${transport}, ${driver} driver`;
  void t.test(title, async (t: Test) => {
    const { host, lab } = await hostFor(t, transport);
    // Every byte is read, so that the small disks of the lab make the cache change hands many times.
    const mount = ["mount", "name:web01", host.mountPoint, "--json", "--allocation", "off", "--fuse-driver", driver];
    if (transport !== "file") mount.push("--transport", transport);
    const environment = environmentOf(host, cacheBytes);
    if (transport === "nbdssl" && lab !== undefined) {
      const standIn = await StandIn.make(t, lab);
      environment.push(`VMMOUNT_VDDK_LIBDIR=${standIn.libdir}`);
      for (const [name, value] of Object.entries(standIn.env)) environment.push(`${name}=${value}`);
    }
    const ended = await run("env", ["-i", ...environment, process.execPath, PROGRAM, ...mount]);
    t.equal(ended.code, 0, ended.stderr);
    const { pid } = JSON.parse(ended.stdout) as SessionStatus;
    const idle = await memory(pid);
    t.ok(idle.now < IDLE_BYTES_MAX, `${Math.round(idle.now / 1e6)} MB when idle`);
    const images = ["scsi0-0-flat.vmdk", "scsi0-1-flat.vmdk"].map((name) => join(host.mountPoint, name));
    for (let round = 0; round < 2; round++) {
      await readHard(images);
      await shell("echo 3 > /proc/sys/vm/drop_caches");
    }
    const { peak } = await memory(pid);
    const bound = OWN_BYTES_MAX + UNDER_WAY_BYTES_MAX + cacheBytes;
    t.ok(peak <= bound, `${Math.round(peak / 1e6)} MB at its peak, ${Math.round(bound / 1e6)} MB allowed`);
    const [library] = (await host.daemons()).filter((one) => one !== pid);
    if (library !== undefined) {
      const { peak: ofHost } = await memory(library);
      const boundOfHost = HOST_BYTES_MAX + SHARED_BYTES;
      t.ok(
        ofHost <= boundOfHost,
        `${Math.round(ofHost / 1e6)} MB of the VDDK host, ${Math.round(boundOfHost / 1e6)} MB allowed`,
      );
    }
    t.equal(library !== undefined, transport === "nbdssl");
    const [session] = (await host.json<{ sessions: SessionStatus[] }>(["status"])).sessions;
    t.match(session?.traffic, { errors: 0, readsInFlight: 0, openFiles: 0, passthroughFiles: 0 });
    t.ok((session?.traffic.servedBytes ?? 0) > cacheBytes * 2, `${session?.traffic.servedBytes} bytes were read`);
    t.match(session?.driver, driver === "kernel" ? /^kernel FUSE/ : /^fuse-native/);
    t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
    t.same(await host.leftovers(), NOTHING_LEFT);
  });
}

/** Each lists the archive: it reads the heads of members and passes over the chunks, whose hashes are made all the same. */
const FOUR_LIST =
  'for n in 1 2 3 4; do tar -tf "$1" >/dev/null & all="$all $!"; done; for one in $all; do wait $one; done';

for (const checksum of ["sha1", "xxhash"]) {
  void t.test(
    `memory stays in its bound while an archive of 512 MiB is listed and read, ${checksum}`,
    async (t: Test) => {
      const { lab } = await testPool(t, { profile: "8.3", init: { ...SMALL_POOL, dataBytes: 512 * MIB } });
      const host = await ProxyHost.make(t, lab);
      const cacheBytes = 8 * MIB;
      const mount = [
        "mount",
        "name:web01",
        host.mountPoint,
        "--json",
        "--allocation",
        "off",
        "--xva-checksum",
        checksum,
      ];
      const ended = await run("env", ["-i", ...environmentOf(host, cacheBytes), process.execPath, PROGRAM, ...mount]);
      t.equal(ended.code, 0, ended.stderr);
      const { pid } = JSON.parse(ended.stdout) as SessionStatus;
      const archive = join(host.mountPoint, "web01.xva");
      t.ok((await stat(archive)).size > 512 * MIB, "with its zeros");
      await shell(FOUR_LIST, archive);
      await shell('cat "$1" >/dev/null', archive);
      const { peak } = await memory(pid);
      const bound = OWN_BYTES_MAX + UNDER_WAY_BYTES_MAX + cacheBytes;
      t.ok(peak <= bound, `${Math.round(peak / 1e6)} MB at its peak, ${Math.round(bound / 1e6)} MB allowed`);
      t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
      t.same(await host.leftovers(), NOTHING_LEFT);
    },
  );
}
