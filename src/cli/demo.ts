import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { chmod, mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import { IntegrityError, VmmountError } from "../errors.js";
import { exitName } from "../exit-codes.js";
import type { Lab } from "../lab/lab.js";
import type { LabVmDisk } from "../lab/lab-vm.js";
import { type CommonOptions, withCommonOptions } from "./common-options.js";
import type { CommandContext, ProcessEdge } from "./context.js";
import { answer, size } from "./output.js";

interface DemoFlags extends CommonOptions {
  readonly keep?: boolean;
}

/** What the demo's own guest writes while the backup runs. */
const GUEST_BYTES_PER_SECOND = 4 * 1024 * 1024;

export function addDemo(program: Command, edge: ProcessEdge): void {
  const command = program
    .command("demo")
    .summary("show the whole main job on a lab: mount, back up, restore, compare")
    .description(
      "Runs the main job on a lab of its own: mounts a VM whose guest keeps writing, backs it up, restores, compares.",
    )
    .option("--keep", "leave the lab and the backup behind to look at")
    .addHelpText(
      "after",
      "\nExamples:\n  vmmount demo\n  vmmount demo --keep      and then: vmmount lab --dir /tmp/vmmount-demo-…/lab",
    );
  withCommonOptions(command, "this host only").action(async (flags: DemoFlags) => {
    const { createContext } = await import("./context.js");
    const context = createContext(edge, flags);
    const directory = await mkdtemp(join(tmpdir(), "vmmount-demo-"));
    try {
      const result = await new Demo(directory, context, edge).run();
      answer(
        context.terminal,
        result,
        () => `\nDone: the restored disks are identical to the snapshot, and nothing is left behind.`,
      );
    } finally {
      if (flags.keep === true) context.logger.info(`The lab and the backup are in ${directory}`);
      else await rm(directory, { recursive: true, force: true });
    }
  });
}

class Demo {
  readonly #directory: string;
  readonly #context: CommandContext;
  readonly #edge: ProcessEdge;

  constructor(directory: string, context: CommandContext, edge: ProcessEdge) {
    this.#directory = directory;
    this.#context = context;
    this.#edge = edge;
  }

  async run(): Promise<object> {
    const lab = join(this.#directory, "lab");
    this.#say("Making a lab with two VMs (real ext4 file systems on GPT disks) …");
    const [{ initLab }, { startLab }] = await Promise.all([import("../lab/init.js"), import("../lab/lab.js")]);
    await initLab(lab);
    await using server = await startLab({
      directory: lab,
      listen: { host: "127.0.0.1", port: 0 },
      logger: this.#context.logger,
    });
    await this.#writeConfig(server);
    const mount = join(this.#directory, "mnt");
    const backup = join(this.#directory, "web01.tar");
    await mkdir(mount);
    await this.#vmmount("ls", "/dc1/web01");
    const vm = server.vm("web01");
    const writers = vm.disks
      .filter((disk) => disk.inSnapshots)
      .map((disk) => vm.guest.startWriting({ diskKey: disk.key, bytesPerSecond: GUEST_BYTES_PER_SECOND }));
    this.#say("The guest of web01 writes to its disks from now on, all the time.");
    await this.#vmmount("mount", "/dc1/web01", mount);
    const [snapshot] = vm.snapshots;
    if (snapshot === undefined) throw new IntegrityError("Cannot go on: the lab shows no snapshot");
    const started = performance.now();
    await this.#shell("tar", "-C", mount, "-Scf", backup, ".");
    const seconds = (performance.now() - started) / 1000;
    const expected = new Map<string, string>();
    for (const disk of vm.disks.filter(({ inSnapshots }) => inSnapshots)) {
      expected.set(disk.node, await vm.hashDisk(disk.key, snapshot.ref));
    }
    await this.#vmmount("umount", mount);
    const written = await Promise.all(writers.map((writer) => writer.stop()));
    await this.#vmmount("snapshot", "list", "any:");
    if (vm.snapshots.length > 0) throw new IntegrityError("The lab still has a snapshot");
    await this.#restoreAndCompare(backup, expected, vm.disks);
    const fetched = Object.values(server.traffic.report().files).reduce((sum, file) => sum + file.bytesSent, 0);
    const guestBytes = written.reduce((sum, { bytes }) => sum + bytes, 0);
    this.#say(
      `\nBacked up ${size(vm.disks.reduce((sum, disk) => sum + disk.capacity, 0))} of disks by moving ${size(fetched)} in ${seconds.toFixed(1)} s, ` +
        `while the guest wrote ${size(guestBytes)}.`,
    );
    return { identical: true, fetchedBytes: fetched, backupBytes: (await stat(backup)).size, guestBytes, seconds };
  }

  async #restoreAndCompare(
    backup: string,
    expected: ReadonlyMap<string, string>,
    disks: readonly LabVmDisk[],
  ): Promise<void> {
    const restored = join(this.#directory, "restored");
    await mkdir(restored);
    await this.#shell("tar", "-C", restored, "-xf", backup);
    // As read-only as the mount was: who is not root could not remove it.
    await chmod(restored, 0o700);
    for (const [node, hash] of expected) {
      const image = join(restored, `${node}-flat.vmdk`);
      const capacity = disks.find((disk) => disk.node === node)?.capacity ?? 0;
      if ((await stat(image)).size !== capacity) throw new IntegrityError(`The restored ${image} has the wrong size`);
      if ((await sha256(image)) !== hash) throw new IntegrityError(`The restored ${image} differs from the snapshot`);
      this.#say(
        `${node}-flat.vmdk is identical to the disk at the moment of the snapshot (SHA-256 ${hash.slice(0, 16)}…)`,
      );
    }
  }

  async #writeConfig(lab: Lab): Promise<void> {
    const text = `[server.lab]
url = "${lab.url}"
user = "${lab.user}"
password_file = "${lab.passwordPath}"
ca_file = "${lab.certificatePath}"

[state]
dir = "${join(this.#directory, "state")}"

[runtime]
dir = "${join(this.#directory, "run")}"
`;
    await writeFile(join(this.#directory, "config.toml"), text, { mode: 0o600 });
  }

  #vmmount(...args: string[]): Promise<void> {
    const all = [...args, "--config", join(this.#directory, "config.toml")];
    this.#say(`\n$ vmmount ${args.join(" ")}`);
    return this.#run(process.execPath, [...process.execArgv, this.#edge.program, ...all]);
  }

  #shell(command: string, ...args: string[]): Promise<void> {
    this.#say(`\n$ ${command} ${args.join(" ")}`);
    return this.#run(command, args);
  }

  /** Asynchronously: the lab that it talks to runs in this very process. */
  async #run(command: string, args: readonly string[]): Promise<void> {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...this.#edge.env } });
    // With --json stdout is for the one answer at the end.
    const show = this.#context.terminal.json ? this.#context.terminal.err : this.#context.terminal.out;
    child.stdout.setEncoding("utf8").on("data", show);
    child.stderr.setEncoding("utf8").on("data", this.#context.terminal.err);
    const [code] = (await once(child, "close")) as [number | null];
    if (code === 0) return;
    // vmmount has said why; of tar it is not known whose fault it is.
    const exit = command === process.execPath && code !== null ? exitName(code) : "internal";
    throw new VmmountError(`The demo failed: ${command} ended with ${code ?? "a signal"}`, exit);
  }

  #say(text: string): void {
    const { terminal } = this.#context;
    (terminal.json ? terminal.err : terminal.out)(`${text}\n`);
  }
}

async function sha256(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) hash.update(chunk as Buffer);
  return hash.digest("hex");
}
