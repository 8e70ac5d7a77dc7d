import { CATALOG_NAME, formatCatalog } from "../catalog.js";
import { IntegrityError } from "../errors.js";
import type { DiskDescription } from "../hypervisor.js";
import { contentId, flatDescriptor, formatDescriptor, type VmdkAdapter } from "../image/vmdk/descriptor-text.js";
import { imageFile, memoryFile } from "./image-file.js";
import { ImageTree, type TreeFile } from "./image-tree.js";
import { catalogOf, diskFileNames } from "./vm-catalog.js";
import type { VmContents, VmDisk } from "./vm-contents.js";

export interface TreeOwner {
  readonly uid: number;
  readonly gid: number;
  /** Permission bits of files. */
  readonly fileMode: number;
}

/** What VMware writes for a VM whose hardware version is unknown: every product opens it. */
const HARDWARE_VERSION_DEFAULT = "4";

/**
 * The mount of one VM: catalog.json, its configuration files, archives of the whole VM, and for each disk the flat image, with
 * a descriptor where the format has one. All
 * times are the snapshot's; inodes depend on the VM and the disk, not on the snapshot, so the same disk is the same
 * file on every run.
 * @throws IntegrityError when a disk is neither open nor excluded, has another size than described, or when a
 * configuration file takes the name of ours
 */
export function vmTree(input: VmContents & { readonly owner: TreeOwner }): ImageTree {
  const { owner } = input;
  return new ImageTree(vmFiles(input), {
    mode: owner.fileMode,
    uid: owner.uid,
    gid: owner.gid,
    timeMs: input.snapshot.createdAt.getTime(),
  });
}

/** The mount of several VMs: a folder for each, under the names given. */
export function vmsTree(
  vms: readonly { readonly folder: string; readonly contents: VmContents }[],
  owner: TreeOwner,
): ImageTree {
  const entries = vms.map(({ folder, contents }) => ({
    kind: "directory" as const,
    name: folder,
    identity: vmIdentity(contents),
    timeMs: contents.snapshot.createdAt.getTime(),
    files: vmFiles(contents),
  }));
  const timeMs = Math.max(0, ...entries.map((entry) => entry.timeMs));
  return new ImageTree(entries, { mode: owner.fileMode, uid: owner.uid, gid: owner.gid, timeMs });
}

function vmFiles(contents: VmContents): TreeFile[] {
  const vm = vmIdentity(contents);
  const timeMs = contents.snapshot.createdAt.getTime();
  const file = (name: string, identity: string, content: TreeFile["content"]): TreeFile => ({
    kind: "file",
    name,
    identity: `${vm} ${identity}`,
    content,
    timeMs,
  });
  const textFile = (name: string, identity: string, text: string): TreeFile =>
    file(name, identity, memoryFile(Buffer.from(text)));
  return [
    textFile(CATALOG_NAME, "catalog", formatCatalog(catalogOf(contents))),
    ...contents.configFiles.map(({ name, bytes }) => file(name, `config ${name}`, memoryFile(bytes))),
    ...contents.archives.map(({ format, name, source }) => file(name, `archive ${format}`, imageFile(source))),
    ...contents.disks.flatMap((opened) => {
      const disk = describedDisk(opened, contents);
      const { image, descriptor } = diskFileNames(disk);
      const files = [file(image, `disk ${disk.key}`, imageFile(opened.source, opened.extents))];
      if (descriptor === undefined) return files;
      return [textFile(descriptor, `descriptor ${disk.key}`, descriptorText(disk, contents)), ...files];
    }),
  ];
}

function describedDisk(opened: VmDisk, { vm }: VmContents): DiskDescription {
  const disk = vm.disks.find(({ key }) => key === opened.key);
  if (disk === undefined) {
    throw new IntegrityError(`Cannot show a disk of "${vm.identity.name}": the VM has none with key ${opened.key}`);
  }
  // A wrong size is a truncated or padded backup: no agent would notice.
  if (opened.source.size !== disk.capacity) {
    throw new IntegrityError(
      `Cannot show ${disk.label} of "${vm.identity.name}": ` +
        `it was opened with ${opened.source.size} bytes and described with ${disk.capacity}`,
    );
  }
  return disk;
}

function descriptorText(disk: DiskDescription, contents: VmContents): string {
  const { hardware } = contents.vm;
  const descriptor = flatDescriptor({
    capacity: disk.capacity,
    extentName: diskFileNames(disk).image,
    adapter: adapterOf(disk),
    hardwareVersion: /^vmx-0*(\d{1,3})$/.exec(hardware.version ?? "")?.[1] ?? HARDWARE_VERSION_DEFAULT,
    cid: contentId(
      `${vmIdentity(contents)} ${disk.key} ${contents.snapshot.ref ?? "as it lay there"} ${contents.snapshot.createdAt.toISOString()}`,
    ),
    thin: disk.thin ?? false,
  });
  return formatDescriptor(descriptor);
}

/** Hosted descriptors know three adapters; `lsilogic` stands for all newer ones, as in VMware's own. */
function adapterOf(disk: DiskDescription): VmdkAdapter {
  if (disk.node.bus === "ide") return "ide";
  return disk.controllerModel.includes("BusLogic") ? "buslogic" : "lsilogic";
}

/** The VM across servers' restarts, snapshots and our runs. */
function vmIdentity({ server, vm }: VmContents): string {
  const { instanceUuid, biosUuid, ref } = vm.identity;
  return `${server.kind} ${server.instanceUuid ?? server.url} ${instanceUuid ?? biosUuid ?? ref}`;
}
