import { NotFoundError, UsageError } from "../../errors.js";
import type { VmIdentity } from "../../hypervisor.js";
import { type Locator, parseLocator } from "../../locator.js";
import { poolSourceOf } from "../../pool-source.js";
import { askAgain } from "../../server-retry.js";
import { isXenUrl } from "../../xen-url.js";
import {
  chooseServer,
  type Connection,
  login,
  prepareConnection,
  refuseSnapshotKind,
  refuseSnapshotPolicy,
  refuseToQuiesce,
} from "../connection.js";
import type { MountRequest } from "../daemon-protocol.js";
import type { InventoryOptions } from "../inventory.js";
import { resolveVm } from "../resolve-vm.js";
import { exactly, findEvery, namesSeveral } from "./several-vms.js";

/** Names on a command line; what is more comes from a glob. */
const LOCATORS_MAX = 1000;
/** One command does not start more processes than this: a machine for that is split in several runs. */
const VMS_MAX = 1000;

export interface SelectedVm {
  readonly connection: Connection;
  readonly vm: VmIdentity;
  /** Names this VM and no other, for its daemon. */
  readonly locator: MountRequest["locator"];
}

/**
 * Every VM that the locators name, each once, in their order. Each server is logged in to once, and logged out of again.
 * @throws UsageError before any server is asked; NotFoundError when a locator names nothing
 */
export async function selectVms(texts: readonly string[], options: InventoryOptions): Promise<SelectedVm[]> {
  const { config, choice } = options;
  if (texts.length > LOCATORS_MAX) {
    throw new UsageError(`Cannot mount ${texts.length} VMs at once: the limit is ${LOCATORS_MAX}`);
  }
  const servers = new Map<string, Locator[]>();
  for (const text of texts) {
    const locator = parseLocator(text, new Set(config.servers.keys()), config.settings.lookup);
    const server = chooseServer(config, locator.server, choice);
    if (isXenUrl(server.url) && poolSourceOf(locator.form) !== undefined) {
      throw new UsageError(`Cannot mount "${text}" together with VMs: give it a directory of its own`);
    }
    refuseToQuiesce(server, config.settings);
    refuseSnapshotKind(server, config.settings);
    refuseSnapshotPolicy(server, config.settings);
    servers.set(server.name, [...(servers.get(server.name) ?? []), { ...locator, server: server.name }]);
  }
  const selected: SelectedVm[] = [];
  for (const [name, locators] of servers) {
    const server = chooseServer(config, config.servers.has(name) ? name : undefined, choice);
    const connection = await prepareConnection(server, choice);
    selected.push(...(await selectOn(connection, locators, options)));
  }
  if (selected.length > VMS_MAX) {
    throw new UsageError(`Cannot mount ${selected.length} VMs at once: the limit is ${VMS_MAX}`);
  }
  return selected;
}

async function selectOn(
  connection: Connection,
  locators: readonly Locator[],
  { config, logger, signal }: InventoryOptions,
): Promise<SelectedVm[]> {
  const asking = { settings: config.settings, logger, signal };
  await using hypervisor = await login(connection, asking);
  const found = new Map<string, SelectedVm>();
  for (const locator of locators) {
    const find = async (): Promise<VmIdentity[]> =>
      namesSeveral(locator.form)
        ? await findEvery(hypervisor, locator.form, { signal })
        : [await resolveVm(hypervisor, locator, { signal })];
    const vms = await askAgain("Looking up the VMs", find, asking);
    if (vms.length === 0) {
      throw new NotFoundError(`Cannot find a VM that matches ${JSON.stringify(locator.text)} on ${connection.url}`, {
        hint: 'See "vmmount find any:" for every VM of this server',
      });
    }
    for (const vm of vms) {
      if (!found.has(vm.ref)) found.set(vm.ref, { connection, vm, locator: exactly(hypervisor.identity.kind, vm) });
    }
  }
  return [...found.values()];
}
