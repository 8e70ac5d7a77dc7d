import type { VmIdentity } from "../hypervisor.js";
import { joinInventoryPath, type PowerState, unescapeInventoryName } from "../locator.js";
import { sortedByPath } from "../path-order.js";
import { childrenNamed, textAt } from "./element.js";
import { type Lineage, lineagesOf } from "./inventory-tree.js";
import type { ObjectProperties, PropertyCollector } from "./property-collector.js";
import type { XmlElement } from "./xml.js";

/** What identifies a VM; the summary still answers when the configuration of a broken VM does not. */
export const IDENTITY_PATHS = [
  "name",
  "parent",
  "parentVApp",
  "config.uuid",
  "config.instanceUuid",
  "summary.config.uuid",
  "summary.config.instanceUuid",
  "runtime.powerState",
  "guest.ipAddress",
  "guest.net",
] as const;

const POWER_STATES: Readonly<Record<string, PowerState>> = {
  poweredOn: "on",
  poweredOff: "off",
  suspended: "suspended",
};

/** Identities sorted by path. */
export async function toIdentities(
  vms: readonly ObjectProperties[],
  properties: PropertyCollector,
  signal: AbortSignal,
): Promise<VmIdentity[]> {
  const lineages = await lineagesOf(vms, properties, signal);
  return sortedByPath(vms.map((vm) => toIdentity(vm, lineages.get(vm.obj.id))));
}

export function toIdentity({ obj, values }: ObjectProperties, lineage: Lineage | undefined): VmIdentity {
  const name = unescapeInventoryName(values.get("name")?.text ?? obj.id);
  const uuid = (path: string): string | undefined =>
    (values.get(`config.${path}`) ?? values.get(`summary.config.${path}`))?.text;
  return {
    ref: obj.id,
    name,
    path: joinInventoryPath(lineage?.names ?? [name]),
    instanceUuid: uuid("instanceUuid")?.toLowerCase(),
    biosUuid: uuid("uuid")?.toLowerCase(),
    powerState: POWER_STATES[values.get("runtime.powerState")?.text ?? ""] ?? "off",
    addresses: guestAddresses(values.get("guest.ipAddress"), values.get("guest.net")),
  };
}

/** Every address the guest's tools report, the primary one first. */
function guestAddresses(primary: XmlElement | undefined, net: XmlElement | undefined): string[] {
  const cards = net?.children ?? [];
  const all = cards.flatMap((card) => [
    ...childrenNamed(card, "ipAddress").map((element) => element.text),
    ...childrenNamed(card, "ipConfig").flatMap((config) =>
      childrenNamed(config, "ipAddress").map((address) => textAt(address, "ipAddress") ?? ""),
    ),
  ]);
  return [...new Set([primary?.text ?? "", ...all])].filter((address) => address !== "");
}
