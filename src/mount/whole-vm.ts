import { IntegrityError } from "../errors.js";
import type { VmArchive } from "../fs/vm-contents.js";
import type { ConfigFile, Hypervisor } from "../hypervisor.js";
import { safeFileName } from "../safe-file-name.js";
import type { Settings } from "../settings.js";
import type { Frozen } from "./frozen.js";
import type { ShownDisk } from "./mount-steps.js";

const DOCUMENT = "ova.xml";

/**
 * The files that hold a whole VM, made while they are read: the `.xva` of a Xen VM, which `xe vm-import` takes. Its size
 * and every byte are the same for the life of the mount.
 * @throws IntegrityError when the records do not describe the disks
 */
export async function wholeVm(
  { hypervisor, facts, settings }: { hypervisor: Hypervisor; facts: Frozen; settings: Settings },
  configFiles: readonly ConfigFile[],
  disks: readonly ShownDisk[],
): Promise<VmArchive[]> {
  const snapshot = facts.snapshot.ref;
  if (hypervisor.identity.kind !== "xen" || snapshot === undefined) return [];
  const { name, ref } = facts.vm.identity;
  const document = configFiles.find((file) => file.name === DOCUMENT);
  if (document === undefined)
    throw new IntegrityError(`Cannot show "${name}" as one file: the pool gave no ${DOCUMENT}`);
  const [{ editOva }, { formatOva, parseOva }, { virtualXva }] = await Promise.all([
    import("../xen/xva/edit-ova.js"),
    import("../xen/xva/ova.js"),
    import("../xen/xva/virtual-xva.js"),
  ]);
  const described = new Map(facts.vm.disks.map((disk) => [disk.key, disk]));
  const edited = editOva(parseOva(document.bytes), {
    uuid: snapshot,
    asUuid: ref,
    name,
    disks: disks.map(({ key, source }) => ({ userdevice: key, size: source.size, name: described.get(key)?.label })),
  });
  const source = await virtualXva({
    ovaXml: formatOva(edited.ova),
    disks: edited.disks.map(({ id, userdevice }) => ({ id, ...needDisk(disks, userdevice) })),
    checksum: settings["mount.xva_checksum"],
  });
  return [{ format: "xva", name: safeFileName(`${name}.xva`), source }];
}

function needDisk(
  disks: readonly ShownDisk[],
  key: string,
): { readonly source: ShownDisk["source"]; readonly holes: ShownDisk["extents"] } {
  const disk = disks.find((one) => one.key === key);
  if (disk === undefined) throw new IntegrityError(`Cannot show the VM as one file: disk ${key} is not open`);
  return { source: disk.source, holes: disk.extents };
}
