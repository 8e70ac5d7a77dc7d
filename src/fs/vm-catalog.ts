import type { Catalog, CatalogDisk } from "../catalog.js";
import { CATALOG_VERSION } from "../catalog.js";
import { IntegrityError } from "../errors.js";
import type { DiskDescription } from "../hypervisor.js";
import { diskNodeName } from "../hypervisor.js";
import { VERSION } from "../version.js";
import type { VmContents } from "./vm-contents.js";

/** The names that a disk has in a mount; Xen's images need no descriptor. */
export function diskFileNames(disk: DiskDescription): {
  readonly image: string;
  readonly descriptor: string | undefined;
} {
  const node = diskNodeName(disk.node);
  if (disk.node.bus === "xvd") return { image: `${node}.raw`, descriptor: undefined };
  return { image: `${node}-flat.vmdk`, descriptor: `${node}.vmdk` };
}

/**
 * The manifest of what a mount shows.
 * @throws IntegrityError when a disk is neither open nor excluded for a reason: a backup must not lack it silently
 */
export function catalogOf(contents: VmContents): Catalog {
  const { server, vm, snapshot } = contents;
  const { identity, hardware } = vm;
  return {
    version: CATALOG_VERSION,
    writtenBy: `vmmount ${VERSION}`,
    server: {
      kind: server.kind,
      url: server.url,
      product: server.product,
      version: server.version,
      instanceUuid: server.instanceUuid ?? null,
    },
    vm: {
      ref: identity.ref,
      name: identity.name,
      path: identity.path,
      instanceUuid: identity.instanceUuid ?? null,
      biosUuid: identity.biosUuid ?? null,
      powerState: identity.powerState,
      configPath: vm.configPath ?? null,
      isTemplate: vm.isTemplate,
      changeTracking: vm.changeTracking,
    },
    hardware: {
      version: hardware.version ?? null,
      guestId: hardware.guestId ?? null,
      guestName: hardware.guestName ?? null,
      firmware: hardware.firmware ?? null,
      cpus: hardware.cpus,
      coresPerSocket: hardware.coresPerSocket ?? null,
      memoryBytes: hardware.memory,
      networks: hardware.networks.map(({ label, model, mac, network }) => ({
        label,
        model,
        mac: mac ?? null,
        network: network ?? null,
      })),
    },
    snapshot: {
      ref: snapshot.ref ?? null,
      name: snapshot.name ?? null,
      createdAt: snapshot.createdAt.toISOString(),
      consistency: contents.consistency,
    },
    configFiles: contents.configFiles.map(({ name }) => name),
    ...(contents.archives.length > 0 && { archives: contents.archives.map(({ name }) => name) }),
    disks: vm.disks.map((disk) => catalogDisk(disk, contents)),
  };
}

function catalogDisk(disk: DiskDescription, contents: VmContents): CatalogDisk {
  const facts = {
    key: disk.key,
    label: disk.label,
    node: { bus: disk.node.bus, busNumber: disk.node.busNumber, unit: disk.node.unit },
    controllerModel: disk.controllerModel,
    capacityBytes: disk.capacity,
    backing: disk.backing,
    path: disk.path,
    parents: [...disk.parents],
    mode: disk.mode,
    provisioning: disk.thin === undefined ? null : disk.thin ? ("thin" as const) : ("thick" as const),
    uuid: disk.uuid ?? null,
    changeId: disk.changeId ?? null,
  };
  const opened = contents.disks.find(({ key }) => key === disk.key);
  if (opened !== undefined) {
    const names = diskFileNames(disk);
    return {
      ...facts,
      included: true,
      file: names.image,
      descriptor: names.descriptor ?? null,
      transport: opened.transport,
      refusedTransports: [...opened.refused],
      allocation: opened.allocation,
      allocatedBytes: opened.extents?.allocated ?? null,
    };
  }
  if (disk.excludedBecause === undefined) {
    throw new IntegrityError(`Cannot show "${contents.vm.identity.name}": ${disk.label} was not opened`);
  }
  return { ...facts, included: false, reason: disk.excludedBecause };
}
