import { readFile, statfs } from "node:fs/promises";
import { availableParallelism, cpus, release, tmpdir, totalmem } from "node:os";
import { GIB } from "../../src/units.js";
import { runProgram } from "./programs.js";

/** What a number means nothing without; name and value in the report's order. */
export type MachineFacts = readonly (readonly [string, string])[];

const PEER_PACKAGES = [
  "qemu-system-common",
  "nbdkit",
  "libnbd-bin",
  "libvmdk-utils",
  "fio",
  "curl",
  "coreutils",
  "tar",
];
/** Names of file systems by the magic number that statfs(2) gives. */
const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  0xef53: "ext4",
  0x58465342: "xfs",
  0x9123683e: "btrfs",
  0x01021994: "tmpfs",
  0x794c7630: "overlayfs",
};

export async function machineFacts(signal: AbortSignal, cacheDrop: string): Promise<MachineFacts> {
  const said = async (command: string, args: readonly string[]): Promise<string> =>
    (await runProgram(command, args, { signal })).stdout.trim();
  const commit = await said("git", ["rev-parse", "--short=12", "HEAD"]);
  const changed = await said("git", ["status", "--porcelain", "--", "src", "test/bench"]);
  const system = /^PRETTY_NAME="(.*)"$/m.exec(await readFile("/etc/os-release", "utf8"))?.[1] ?? "unknown";
  const packages = await said("dpkg-query", ["-W", "-f", "${Package} ${Version}; ", ...PEER_PACKAGES]);
  const { type } = await statfs(tmpdir());
  return [
    ["date", new Date().toISOString().slice(0, 16).replace("T", " ") + " UTC"],
    ["commit", `${commit}${changed === "" ? "" : " with changes that are not committed"}`],
    ["processor", `${cpus()[0]?.model ?? "unknown"}, ${availableParallelism()} cores`],
    ["memory", `${(totalmem() / GIB).toFixed(1)} GiB`],
    ["kernel", release()],
    ["system", system],
    ["Node.js", process.version],
    ["data on", `${FILE_SYSTEMS[type] ?? `a file system of type 0x${type.toString(16)}`} (${tmpdir()})`],
    [
      "a cold page cache is made by",
      cacheDrop === "drop_caches" ? "echo 3 > /proc/sys/vm/drop_caches" : "POSIX_FADV_DONTNEED",
    ],
    ["packages", packages.replace(/; $/, "")],
  ];
}

/** When, from which commit and on what a run was measured, for the numbers that stay when a later run is of another machine. */
export function originOf(facts: ReadonlyMap<string, string>): string {
  const [date = "?", commit = "?", processor = "?"] = ["date", "commit", "processor"].map((name) => facts.get(name));
  return `${date}, commit ${commit}, on ${shortName(processor)}`;
}

/** "Intel(R) Xeon(R) Processor @ 2.60GHz, 2 cores" is "Intel Xeon, 2 cores". */
function shortName(processor: string): string {
  return processor.replace(/\((?:R|TM)\)|\b(?:Processor|CPU)\b|@ [\d.]+GHz/g, "").replace(/\s+(?=[\s,]|$)/g, "");
}
