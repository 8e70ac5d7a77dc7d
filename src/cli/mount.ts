import { type Command, Option } from "commander";
import { UsageError } from "../errors.js";
import type { SessionStatus } from "../mount/control-protocol.js";
import { LaunchedDaemon } from "../mount/launch-daemon.js";
import type { MadeDirectory } from "../mount/made-directory.js";
import { newSessionId } from "../mount/state-paths.js";
import { printable } from "../printable.js";
import { answerOrUnmount } from "./answer-or-unmount.js";
import { type CommonOptions, withCommonOptions } from "./common-options.js";
import type { CommandContext, FlagSetting, ProcessEdge } from "./context.js";
import { mayMeanSeveral, meansSeveral, mountSeveral } from "./mount-several.js";
import { answer, size, table } from "./output.js";

type MountWords = [vm: string, directory: string | undefined, more: string[]];

interface MountFlags extends CommonOptions {
  readonly each?: string;
  readonly quiesce?: string;
  readonly beforeSnapshot?: string;
  readonly afterSnapshot?: string;
  readonly policy?: string;
  readonly useSnapshot?: string;
  readonly preexistingMount?: string;
  readonly preexistingSnapshot?: string;
  readonly anyOwner?: boolean;
  readonly memory?: boolean;
  readonly offline?: boolean;
  readonly allowOther?: boolean;
  readonly uid?: string;
  readonly gid?: string;
  readonly mode?: string;
  readonly cacheSize?: string;
  readonly allocation?: string;
  readonly fuseDriver?: string;
  readonly transport?: string;
  readonly xvaChecksum?: string;
  readonly option: readonly string[];
}

const EXAMPLES = `
Examples:
  vmmount mount /dc1/web01 /mnt/backup          snapshot web01, show its disks under /mnt/backup
  vmmount mount name:web01 /mnt/backup --quiesce require
  vmmount mount vc2:instanceuuid:5011… /mnt/b   a VM of the configured server "vc2"
  vmmount mount --server xen://pool.example.org --user root --password-file pw /web01 /mnt/backup
                                                a VM of a XenServer or XCP-ng pool
  vmmount mount pool1:/meta-data /mnt/backup    database of a Xen pool and records of its VMs; also /host-backup[/HOST]
  vmmount mount --server dir:///srv/vms /web01 /mnt/backup
                                                a VM in a folder of this host: shut it down first
  vmmount mount '/dc1/prod-*' /mnt/backup       every VM that matches, each in a folder of its own there; so do
                                                glob:, any:, powerstate: and several VMs, also when they match one
  vmmount mount '/dc1/*' /mnt/backup --each 'restic backup "$1"'
                                                mount, run, unmount: as many at once as the parallel.* settings allow
  tar -C /mnt/backup -Scf web01.tar . && vmmount umount /mnt/backup

Returns when the disks can be read; a background process serves them until "vmmount umount".`;

export function addMount(program: Command, edge: ProcessEdge): void {
  const command = program
    .command("mount")
    .summary("snapshot a VM and show its disks as read-only files")
    .description(
      "Snapshots a VM and shows its disks as flat, sparse, read-only image files under a directory. " +
        "A VM in a folder of this host (dir:///FOLDER) is shown without a snapshot.",
    )
    .argument("<vm>", "the VM: /dc/folder/name (Xen: /name), name:, uuid:, instanceuuid:, moref:, ipaddr:, vmx: …")
    .argument("[directory]", "an existing, empty directory (default: one below mount.root, made and removed again)")
    .argument("[more...]", "several VMs may be named; the last word is then the directory")
    .usage("[options] <vm> [vm...] [directory]")
    .option("--quiesce <auto|require|off>", "ask the guest to flush its file systems (default auto)")
    .option(
      "--policy <automatic|manual|createonly|deleteonly>",
      "who makes the snapshot, and who removes it (default automatic: vmmount both)",
    )
    .option("--use-snapshot <name|id>", "manual, deleteonly: the snapshot to show (default: the one createonly kept)")
    .option("--preexisting-mount <fail|repair|delete>", "an earlier mount there (default repair: only a dead one goes)")
    .option("--preexisting-snapshot <fail|delete-own|delete>", "an earlier backup's snapshot (default delete-own)")
    .option("--any-owner", "with --preexisting-snapshot delete: also one that only its name tells to be a backup's")
    .addOption(
      new Option("--memory", "Xen: let the guest stand still meanwhile, so that all disks are of one moment").conflicts(
        "offline",
      ),
    )
    .option("--offline", "Xen: shut the guest down, freeze its disks, and start it again")
    .option("--before-snapshot <cmd>", "shell command before the snapshot; when it fails, none is made")
    .option("--after-snapshot <cmd>", "shell command after the snapshot, also when that failed")
    .option("--each <cmd>", "shell command for every VM once mounted ($1: its directory); then unmount that VM at once")
    .option("--allow-other", "let other users into the mount")
    .option("--uid <n>", "owner of the files (default: you)")
    .option("--gid <n>", "group of the files (default: yours)")
    .option("--mode <octal>", "mode of the files (default 0400)")
    .option("--cache-size <size>", "memory for disk blocks, such as 256MiB")
    .option("--allocation <auto|off>", "off: do not ask the server for holes, read every byte")
    .option("--transport <list>", "how to read disks, in order, such as nbdssl:https (default: what can be used)")
    .option("--xva-checksum <sha1|xxhash>", "Xen: how the .xva is hashed (default sha1, which every version imports)")
    .option("-o, --option <key=value>", "SEP sesam's names: trans=nbd:nbdssl, qui=0|1; may be repeated", collected, [])
    .option("--fuse-driver <kernel|fuse-native>", "what serves the mount (default kernel)")
    .addHelpText("after", EXAMPLES);
  withCommonOptions(command, "a server").action(async (...given: [...MountWords, MountFlags, Command]) => {
    const [first, second, more, flags] = given;
    if (second === undefined) {
      await mountBelowRoot(first, { flags, edge });
      return;
    }
    const vms = [first, second, ...more];
    const directory = vms.pop() ?? "";
    const [vm = ""] = vms;
    if (vms.length > 1 || flags.each !== undefined || mayMeanSeveral(vm)) {
      if (await mountAll({ vms, directory, flags, edge })) return;
    }
    // It loads its modules while this process loads its own; until it is asked to mount it has made nothing.
    const daemon = LaunchedDaemon.launch(edge.program, directory);
    try {
      await mountWith(daemon, { vm, directory, flags, edge });
    } finally {
      await daemon.dismiss();
    }
  });
}

/** The server says what the directory is called, so that nothing can be launched before it was asked. */
async function mountBelowRoot(vm: string, { flags, edge }: Pick<Asked, "flags" | "edge">): Promise<void> {
  const { createContext } = await import("./context.js");
  const { makeDirectory } = await import("../mount/made-directory.js");
  const { removeEmptyFolder } = await import("../mount/made-folder.js");
  const context = createContext(edge, flags, settingFlags(flags));
  const session = newSessionId();
  const made = await makeDirectory(vm, { ...context, session });
  try {
    const daemon = LaunchedDaemon.launch(edge.program, made.path, session);
    try {
      await serve(daemon, context, { vm, directory: made.path, made });
    } finally {
      await daemon.dismiss();
    }
  } catch (error) {
    if (made.isNew) await removeEmptyFolder(made.path);
    throw error;
  }
}

/** @returns false for a single VM after all */
async function mountAll({
  vms,
  directory,
  flags,
  edge,
}: Omit<Asked, "vm"> & { readonly vms: readonly string[] }): Promise<boolean> {
  const { createContext } = await import("./context.js");
  const context = createContext(edge, flags, settingFlags(flags));
  if (flags.each === undefined && !(await meansSeveral(vms, context))) return false;
  try {
    const { program, signal } = edge;
    await mountSeveral({ vms, directory, job: flags.each, program, signal }, context);
  } finally {
    context.progress.stop();
  }
  return true;
}

interface Asked {
  readonly vm: string;
  readonly directory: string;
  readonly flags: MountFlags;
  readonly edge: ProcessEdge;
}

async function mountWith(daemon: LaunchedDaemon, { vm, directory, flags, edge }: Asked): Promise<void> {
  const { createContext } = await import("./context.js");
  await serve(daemon, createContext(edge, flags, settingFlags(flags)), { vm, directory });
}

async function serve(
  daemon: LaunchedDaemon,
  context: CommandContext,
  { vm, directory, made }: { readonly vm: string; readonly directory: string; readonly made?: MadeDirectory },
): Promise<void> {
  const { mountVm } = await import("../mount/mount-vm.js");
  try {
    // The daemon logs its progress itself.
    const status = await mountVm(vm, directory, { ...context, daemon, made, onProgress: context.progress.report });
    context.progress.stop();
    await answerOrUnmount([status.session], context, () => {
      answer(context.terminal, status, () => describeMount(status));
    });
  } finally {
    context.progress.stop();
  }
}

function settingFlags(flags: MountFlags): FlagSetting[] {
  const named = sesamOptions(flags.option);
  return [
    { key: "snapshot.quiesce", value: flags.quiesce ?? named.quiesce, flag: "--quiesce" },
    { key: "snapshot.policy", value: flags.policy, flag: "--policy" },
    { key: "snapshot.use", value: flags.useSnapshot, flag: "--use-snapshot" },
    { key: "preexisting.mount", value: flags.preexistingMount, flag: "--preexisting-mount" },
    { key: "preexisting.snapshot", value: flags.preexistingSnapshot, flag: "--preexisting-snapshot" },
    { key: "preexisting.any_owner", value: flags.anyOwner, flag: "--any-owner" },
    { key: "snapshot.kind", ...kindFlag(flags) },
    { key: "mount.transport", value: flags.transport ?? named.transport, flag: "--transport" },
    { key: "hooks.before_snapshot", value: flags.beforeSnapshot, flag: "--before-snapshot" },
    { key: "hooks.after_snapshot", value: flags.afterSnapshot, flag: "--after-snapshot" },
    { key: "mount.allow_other", value: flags.allowOther, flag: "--allow-other" },
    { key: "mount.uid", value: flags.uid, flag: "--uid" },
    { key: "mount.gid", value: flags.gid, flag: "--gid" },
    { key: "mount.mode", value: flags.mode, flag: "--mode" },
    { key: "mount.cache_size", value: flags.cacheSize, flag: "--cache-size" },
    { key: "mount.allocation", value: flags.allocation, flag: "--allocation" },
    { key: "mount.xva_checksum", value: flags.xvaChecksum, flag: "--xva-checksum" },
    { key: "mount.fuse_driver", value: flags.fuseDriver, flag: "--fuse-driver" },
  ];
}

function kindFlag({ memory, offline }: MountFlags): { readonly value: string | undefined; readonly flag: string } {
  if (memory === true) return { value: "memory", flag: "--memory" };
  return { value: offline === true ? "offline" : undefined, flag: "--offline" };
}

function collected(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

/** What backup jobs written for SEP sesam pass. @throws UsageError */
function sesamOptions(options: readonly string[]): { readonly transport?: string; readonly quiesce?: string } {
  let named: { readonly transport?: string; readonly quiesce?: string } = {};
  for (const option of options) {
    const [key = "", value = ""] = option.split(/=(.*)/s);
    if (key === "trans" && value !== "") named = { ...named, transport: value };
    else if (key === "qui" && value === "0") named = { ...named, quiesce: "off" };
    else if (key === "qui" && value === "1") named = { ...named, quiesce: "auto" };
    else throw new UsageError(`Cannot use "-o ${option}": it is trans=LIST, qui=0 or qui=1`);
  }
  return named;
}

function describeSnapshot({ snapshot }: SessionStatus): string {
  return snapshot.ref === null ? `no snapshot, ${snapshot.consistency}` : `${snapshot.consistency} snapshot`;
}

function describeFiles(status: SessionStatus, files: NonNullable<SessionStatus["files"]>): string {
  return [
    `Mounted ${printable(status.vm.path)} on ${printable(status.mountPoint)} (session ${status.session}). The files hold secrets`,
    table(
      ["FILE", "SIZE", "WHAT"],
      files.map(({ file, about, bytes }) => [file, size(bytes), about]),
    ),
    `When the backup is done: vmmount umount ${printable(status.mountPoint)}`,
  ].join("\n");
}

function describeMount(status: SessionStatus): string {
  if (status.files !== undefined) return describeFiles(status, status.files);
  const disks = status.disks.map((disk) =>
    disk.included
      ? [disk.node, disk.label, size(disk.capacity), `${size(disk.allocated)} to read`, disk.file ?? ""]
      : [disk.node, disk.label, size(disk.capacity), "NOT INCLUDED", disk.reason ?? ""],
  );
  return [
    `Mounted "${printable(status.vm.name)}" on ${printable(status.mountPoint)} (session ${status.session}, ${describeSnapshot(status)})`,
    table(["DISK", "LABEL", "SIZE", "DATA", "FILE"], disks),
    `When the backup is done: vmmount umount ${printable(status.mountPoint)}`,
  ].join("\n");
}
