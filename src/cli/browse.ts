import type { Command } from "commander";
import type { DiskDescription, InventoryEntry, VmDescription, VmIdentity } from "../hypervisor.js";
import { diskNodeName } from "../hypervisor.js";
import { LOCATOR_FORMS } from "../locator.js";
import { UsageError } from "../errors.js";
import type { Listing } from "../mount/inventory.js";
import { printable } from "../printable.js";
import { type CommonOptions, withCommonOptions } from "./common-options.js";
import type { ProcessEdge } from "./context.js";
import { answer, size, table } from "./output.js";

/** What only a command that runs needs. */
const loaded = () => Promise.all([import("./context.js"), import("../mount/inventory.js")]);

const LS_EXAMPLES = `
Examples:
  vmmount ls                    datacenters of the server
  vmmount ls /dc1               folders and VMs
  vmmount ls /dc1/web01         disks of a VM: what a backup holds, and what not and why
  vmmount ls vc2:/dc1 --json    of the configured server "vc2"
  vmmount ls --server dir:///srv/vms          VMs in a folder of this host, such as an NFS datastore
  vmmount ls --server dir:///srv/vms /web01   disks of one of them`;

export function addLs(program: Command, edge: ProcessEdge): void {
  const command = program
    .command("ls")
    .alias("list")
    .summary("browse the inventory; list the disks of a VM")
    .description("Lists what is at a place of the inventory: folders and VMs, or the disks of a VM.")
    .argument("[path]", "inventory path or VM locator", "/")
    .addHelpText("after", LS_EXAMPLES);
  withCommonOptions(command, "a server").action(async (path: string, flags: CommonOptions) => {
    const [{ createContext }, { listPath }] = await loaded();
    const context = createContext(edge, flags);
    const listing = await listPath(path, context);
    answer(context.terminal, listing.kind === "vm" ? listing.vm : { entries: listing.entries }, () =>
      describeListing(listing),
    );
  });
}

function describeListing(listing: Listing): string {
  if (listing.kind === "vm") return describeVm(listing.vm);
  return table(["KIND", "STATE", "PATH"], listing.entries.map(entryRow));
}

function entryRow(entry: InventoryEntry): string[] {
  return [entry.kind, entry.vm?.powerState ?? "", entry.path];
}

function describeVm(vm: VmDescription): string {
  const { identity } = vm;
  const rows = vm.disks.map((disk) => [
    diskNodeName(disk.node),
    disk.label,
    size(disk.capacity),
    disk.path,
    disk.thin === undefined ? "" : disk.thin ? "thin" : "thick",
    inBackup(disk),
  ]);
  const facts = [
    `${printable(identity.name)}  ${printable(identity.path)}`,
    `power ${identity.powerState}, guest tools ${vm.toolsRunning ? "running" : "not running"}, changed block tracking ${vm.changeTracking ? "on" : "off"}`,
    `instanceuuid:${identity.instanceUuid ?? "?"}  uuid:${identity.biosUuid ?? "?"}  moref:${identity.ref}`,
    ...vm.snapshotObstacles.map((obstacle) => `A snapshot will fail: ${printable(obstacle)}`),
  ];
  return `${facts.join("\n")}\n\n${table(["DISK", "LABEL", "SIZE", "FILE", "KIND", "IN BACKUP"], rows)}`;
}

function inBackup({ excludedBecause, unreadableBecause }: DiskDescription): string {
  if (excludedBecause !== undefined) return `no: ${excludedBecause}`;
  return unreadableBecause === undefined ? "yes" : `a mount will fail: ${unreadableBecause}`;
}

interface FindFlags extends CommonOptions {
  readonly format?: string;
}

const FIND_EXAMPLES = `
Locators:
${Object.values(LOCATOR_FORMS)
  .map(({ example, meaning }) => `  ${example.padEnd(26)} ${meaning}`)
  .join("\n")}
  SERVER:LOCATOR             on a configured server

Examples:
  vmmount find any:
  vmmount find ipaddr:web01.example.org
  vmmount find name:web01 --format vcb     lines such as "moref:vm-42", as vcbVmName printed them`;

export function addFind(program: Command, edge: ProcessEdge): void {
  const command = program
    .command("find")
    .summary("find VMs by name, path, UUID, address …")
    .description("Finds VMs and prints what each can be called.")
    .argument("<locator>", "which VMs")
    .option("--format <table|vcb>", "vcb: one key:value line per identity", "table")
    .addHelpText("after", FIND_EXAMPLES);
  withCommonOptions(command, "a server").action(async (locator: string, flags: FindFlags) => {
    if (flags.format !== "table" && flags.format !== "vcb") {
      throw new UsageError(`Cannot print in format "${flags.format ?? ""}": it is "table" or "vcb"`);
    }
    const [{ createContext }, { findMatches }] = await loaded();
    const context = createContext(edge, flags);
    const vms = await findMatches(locator, context);
    answer(context.terminal, { vms }, () =>
      flags.format === "vcb"
        ? vms.map(vcbLines).join("\n\n")
        : table(["PATH", "STATE", "MOREF", "INSTANCEUUID", "ADDRESSES"], vms.map(vmRow)),
    );
  });
}

function vmRow(vm: VmIdentity): string[] {
  return [vm.path, vm.powerState, vm.ref, vm.instanceUuid ?? "", vm.addresses.join(" ")];
}

function vcbLines(vm: VmIdentity): string {
  const lines = [`moref:${vm.ref}`, `name:${vm.name}`, `uuid:${vm.biosUuid ?? ""}`];
  return [...lines, ...vm.addresses.slice(0, 1).map((address) => `ipaddr:${address}`)].map(printable).join("\n");
}

const SNAPSHOT_EXAMPLES = `
Examples:
  vmmount snapshot list /dc1/web01
  vmmount snapshot list any: --json      every snapshot of every VM, and whose it is`;

export function addSnapshot(program: Command, edge: ProcessEdge): void {
  const group = program.command("snapshot").summary("look at the snapshots of VMs").description("Looks at snapshots.");
  const command = group
    .command("list")
    .alias("ls")
    .summary("list the snapshots of VMs and whose they are")
    .description("Lists the snapshots of the VMs that a locator names, and which of them are vmmount's.")
    .argument("<vm>", "a VM, or a locator that matches several")
    .addHelpText("after", SNAPSHOT_EXAMPLES);
  withCommonOptions(command, "a server").action(async (vm: string, flags: CommonOptions) => {
    const [{ createContext }, { listVmSnapshots }] = await loaded();
    const context = createContext(edge, flags);
    const snapshots = await listVmSnapshots(vm, context.paths, context);
    answer(context.terminal, { snapshots }, () =>
      snapshots.length === 0
        ? "No snapshots"
        : table(
            ["VM", "SNAPSHOT", "ID", "CREATED", "QUIESCED", "OWNER"],
            snapshots.map((one) => [
              one.vm.path,
              one.name,
              one.ref,
              one.createdAt.toISOString(),
              one.quiesced ? "yes" : "no",
              one.host === undefined ? one.owner : `${one.owner} (${one.host})`,
            ]),
          ),
    );
  });
}
