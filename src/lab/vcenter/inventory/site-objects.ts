import { statfsSync } from "node:fs";
import { join } from "node:path";
import type { World } from "../../world.js";
import { managedObject, type ManagedObject } from "../objects.js";
import { dataWithDefaults } from "../required.js";
import type { Tasks } from "../tasks.js";
import { data, moref, type Data, type Value } from "../values.js";
import { entityProperties } from "./machine-object.js";
import type { InventoryTree, Node } from "./tree.js";

type Properties = Record<string, () => Value | undefined>;

/** Everything of the inventory that is not a machine: folders, the datacenter, one host, its pool, the datastores. */
export function siteObject(
  node: Node,
  tree: InventoryTree,
  world: World,
  tasks: Tasks,
  freeBytes: number | undefined,
): ManagedObject {
  return managedObject(node.ref, { ...entityProperties(node, tasks), ...ownProperties(node, tree, world, freeBytes) });
}

function ownProperties(node: Node, tree: InventoryTree, world: World, freeBytes: number | undefined): Properties {
  const machines = () => tree.machines.map(({ ref }) => ref);
  const datastores = () => tree.datastores.map(({ ref }) => ref);
  const networks = () => [tree.network.ref];
  switch (node.ref.type) {
    case "Folder":
      return { childEntity: () => node.children.map((child) => child.ref), childType: () => childTypes(node, tree) };
    case "Datacenter":
      return {
        vmFolder: () => tree.vmFolder.ref,
        hostFolder: () => tree.hostFolder.ref,
        datastoreFolder: () => tree.datastoreFolder.ref,
        networkFolder: () => tree.networkFolder.ref,
        datastore: datastores,
        network: networks,
      };
    case "ComputeResource":
      return {
        resourcePool: () => tree.pool.ref,
        host: () => [tree.host.ref],
        datastore: datastores,
        network: networks,
        summary: () =>
          dataWithDefaults("ComputeResourceSummary", { numHosts: 1, numEffectiveHosts: 1, overallStatus: "green" }),
      };
    case "HostSystem":
      return { ...hostProperties(node), vm: machines, datastore: datastores, network: networks };
    case "ResourcePool":
      return { owner: () => tree.cluster.ref, vm: machines, resourcePool: () => [] };
    case "Network":
      return {
        summary: () => data("NetworkSummary", { network: node.ref, name: node.name, accessible: true, ipPoolName: "" }),
        host: () => [tree.host.ref],
        vm: machines,
      };
    case "Datastore":
      return datastoreProperties(node, tree, world, freeBytes);
    default:
      return {};
  }
}

function childTypes(node: Node, tree: InventoryTree): string[] {
  if (node === tree.root) return ["Folder", "Datacenter"];
  if (node === tree.hostFolder) return ["Folder", "ComputeResource"];
  if (node === tree.datastoreFolder) return ["Folder", "Datastore", "StoragePod"];
  if (node === tree.networkFolder) return ["Folder", "Network", "DistributedVirtualSwitch"];
  return ["Folder", "VirtualMachine", "VirtualApp"];
}

function hostProperties(node: Node): Properties {
  const runtime = (): Data =>
    dataWithDefaults("HostRuntimeInfo", { connectionState: "connected", powerState: "poweredOn" });
  return {
    runtime,
    summary: () =>
      data("HostListSummary", {
        host: node.ref,
        runtime: runtime(),
        config: dataWithDefaults("HostConfigSummary", { name: node.name, port: 443 }),
        quickStats: data("HostListSummaryQuickStats"),
        overallStatus: "green",
        rebootRequired: false,
      }),
    datastoreBrowser: () => moref("HostDatastoreBrowser", `datastoreBrowser-${node.ref.ref}`),
  };
}

function datastoreProperties(node: Node, tree: InventoryTree, world: World, freeBytes?: number): Properties {
  const url = `ds:///vmfs/volumes/${node.ref.ref}/`;
  const room = () => {
    const { bsize, blocks, bavail } = statfsSync(join(world.directory, nameOf(node, world)));
    return { capacity: blocks * bsize, freeSpace: freeBytes ?? bavail * bsize };
  };
  return {
    info: () =>
      dataWithDefaults("VmfsDatastoreInfo", {
        name: node.name,
        url,
        freeSpace: room().freeSpace,
        maxFileSize: 64 * 1024 ** 4,
        maxVirtualDiskCapacity: 62 * 1024 ** 4,
      }),
    summary: () =>
      data("DatastoreSummary", {
        datastore: node.ref,
        name: node.name,
        url,
        ...room(),
        accessible: true,
        multipleHostAccess: false,
        type: "VMFS",
        maintenanceMode: "normal",
      }),
    host: () => [
      data("DatastoreHostMount", {
        key: tree.host.ref,
        mountInfo: data("HostMountInfo", {
          path: `/vmfs/volumes/${node.ref.ref}`,
          accessMode: "readWrite",
          mounted: true,
          accessible: true,
        }),
      }),
    ],
    vm: () =>
      tree.machines.filter(({ machine }) => tree.datastore(machine?.datastore ?? "") === node).map(({ ref }) => ref),
    browser: () => moref("HostDatastoreBrowser", `datastoreBrowser-${node.ref.ref}`),
    capability: () =>
      dataWithDefaults("DatastoreCapability", {
        directoryHierarchySupported: true,
        rawDiskMappingsSupported: true,
        perFileThinProvisioningSupported: true,
        vmfsSparseSupported: true,
      }),
  };
}

function nameOf(node: Node, world: World): string {
  return world.datastores[Number(node.ref.ref.replace("datastore-", "")) - 11] ?? "";
}
