import type { Machine } from "../../machine.js";
import type { Call, Handler, Handlers } from "../call.js";
import { sameName } from "../inventory/names.js";
import type { Node } from "../inventory/tree.js";
import type { Moref } from "../values.js";

/** A vCenter's way of finding by path: names in their escaped form, from the root folder down. */
function byPath({ server, args }: Call): Moref | undefined {
  const segments = (args.text("inventoryPath") ?? "").split("/").filter((segment) => segment !== "");
  if (segments.length === 0) return undefined;
  let at: Node | undefined = server.tree.root;
  for (const segment of segments) at = at?.children.find((child) => sameName(child.name, segment));
  return at?.ref;
}

/** The machines that match, in the order of the inventory. Hosts (`vmSearch` false) are not searched. */
function machines(call: Call, matches: (machine: Machine) => boolean): Moref[] {
  const { server, args, session } = call;
  const datacenter = args.ref("datacenter");
  if (datacenter !== undefined) server.objects.get(datacenter, session);
  if (args.flag("vmSearch") === false) return [];
  return server.tree.machines.filter(({ machine }) => machine !== undefined && matches(machine)).map(({ ref }) => ref);
}

function byUuid(call: Call): Moref[] {
  const wanted = call.args.text("uuid")?.toLowerCase();
  const isInstance = call.args.flag("instanceUuid") ?? false;
  return machines(call, (machine) => (isInstance ? machine.instanceUuid : machine.biosUuid) === wanted);
}

/** Only a running guest with running Tools reports its addresses. */
function reports(machine: Machine): boolean {
  return machine.power === "on" && machine.settings.toolsRunning;
}

function byIp(call: Call): Moref[] {
  return machines(call, (machine) => reports(machine) && machine.settings.ip === call.args.text("ip"));
}

function byDnsName(call: Call): Moref[] {
  const wanted = call.args.text("dnsName")?.toLowerCase();
  return machines(call, (machine) => reports(machine) && machine.settings.hostName?.toLowerCase() === wanted);
}

export const SEARCH_CALLS: Handlers<Handler> = {
  SearchIndex: {
    FindByInventoryPath: byPath,
    FindByUuid: (call) => byUuid(call)[0],
    FindAllByUuid: byUuid,
    FindByIp: (call) => byIp(call)[0],
    FindAllByIp: byIp,
    FindByDnsName: (call) => byDnsName(call)[0],
    FindAllByDnsName: byDnsName,
    FindByDatastorePath: (call) =>
      machines(call, (machine) => machine.datastorePath(machine.files.vmxName) === call.args.text("path"))[0],
    FindChild: ({ server, args, session }) => {
      const entity = server.objects.get(args.ref("entity") ?? server.tree.root.ref, session);
      const children = server.tree.get(entity.ref.ref)?.children ?? [];
      return children.find((child) => sameName(child.name, args.text("name") ?? ""))?.ref;
    },
  },
};
