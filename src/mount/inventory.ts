import { hostname } from "node:os";
import type { Config } from "../config.js";
import { NotFoundError } from "../errors.js";
import type { Hypervisor, InventoryEntry, Snapshot, VmDescription, VmIdentity } from "../hypervisor.js";
import { type Locator, parseLocator } from "../locator.js";
import type { Logger } from "../log.js";
import { readOwnership } from "../snapshot/ownership.js";
import { chooseServer, openHypervisor, prepareConnection, type ServerChoice } from "./connection.js";
import { findEvery } from "./many/several-vms.js";
import { listSessions } from "./session-list.js";
import type { StatePaths } from "./state-paths.js";

export interface InventoryOptions {
  readonly config: Config;
  readonly choice: ServerChoice;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

/** Logs in to the server that the locator means, and out again. */
async function withServer<T>(
  text: string,
  options: InventoryOptions,
  work: (hypervisor: Hypervisor, locator: Locator) => Promise<T>,
): Promise<T> {
  const { config, choice, logger, signal } = options;
  const locator = parseLocator(text, new Set(config.servers.keys()), config.settings.lookup);
  const connection = await prepareConnection(chooseServer(config, locator.server, choice), choice);
  await using hypervisor = await openHypervisor(connection, logger, signal);
  return await work(hypervisor, locator);
}

export type Listing =
  | { readonly kind: "entries"; readonly entries: readonly InventoryEntry[] }
  | { readonly kind: "vm"; readonly vm: VmDescription };

/** What is at a place of the inventory: its folders and VMs, or the disks of a VM. @throws NotFoundError */
export function listPath(text: string, options: InventoryOptions): Promise<Listing> {
  return withServer(text, options, async (hypervisor, { form }) => {
    const { signal } = options;
    const isRoot = form.kind === "path" && form.path.length === 0;
    const [vm, ...others] = isRoot ? [] : await findEvery(hypervisor, form, { signal });
    if (vm !== undefined && others.length === 0) {
      return { kind: "vm", vm: await hypervisor.describeVm(vm.ref, { signal }) };
    }
    if (vm !== undefined) {
      const entries = [vm, ...others].map((one) => ({ kind: "vm" as const, name: one.name, path: one.path, vm: one }));
      return { kind: "entries", entries };
    }
    if (form.kind !== "path") throw new NotFoundError(`Cannot list ${JSON.stringify(text)}: no VM matches`);
    const entries = await hypervisor.browse(text.slice(text.indexOf("/")), { signal });
    return { kind: "entries", entries };
  });
}

/** Every VM that a locator names. @throws NotFoundError when none does */
export function findMatches(text: string, options: InventoryOptions): Promise<VmIdentity[]> {
  return withServer(text, options, async (hypervisor, { form }) => {
    const found = await findEvery(hypervisor, form, options);
    if (found.length === 0) throw new NotFoundError(`Cannot find a VM that matches ${JSON.stringify(text)}`);
    return found;
  });
}

export interface ListedSnapshot extends Snapshot {
  readonly vm: VmIdentity;
  /** Whose it is: "foreign" ones are never touched. */
  readonly owner: "foreign" | "mounted" | "dead session" | "other host";
  readonly session: string | undefined;
  readonly host: string | undefined;
}

/** Every snapshot of the VMs that a locator names, and which are ours. */
export async function listVmSnapshots(
  text: string,
  paths: StatePaths,
  options: InventoryOptions,
): Promise<ListedSnapshot[]> {
  const live = new Set((await listSessions(paths)).filter((entry) => entry.isLive).map((entry) => entry.id));
  return withServer(text, options, async (hypervisor, { form }) => {
    const vms = await findEvery(hypervisor, form, options);
    if (vms.length === 0) throw new NotFoundError(`Cannot find a VM that matches ${JSON.stringify(text)}`);
    const listed: ListedSnapshot[] = [];
    for (const vm of vms) {
      for (const snapshot of await hypervisor.listSnapshots(vm.ref, options)) {
        const mark = readOwnership(snapshot);
        listed.push({ ...snapshot, vm, owner: ownerOf(mark, live), session: mark?.session, host: mark?.host });
      }
    }
    return listed;
  });
}

function ownerOf(mark: ReturnType<typeof readOwnership>, live: ReadonlySet<string>): ListedSnapshot["owner"] {
  if (mark === undefined) return "foreign";
  if (mark.host !== hostname()) return "other host";
  return live.has(mark.session) ? "mounted" : "dead session";
}
