import t from "tap";
import { parseXml, type Element } from "../../../src/lab/vcenter/xml.js";
import { testLab } from "../../fixtures/lab.js";
import { RawSoap } from "../../fixtures/vsphere/raw-soap.js";
import { startVcsim, withVcsim } from "../../fixtures/vsphere/vcsim.js";

/**
 * The lab and VMware's simulator answer the same questions: the types must be the same, and elements that both send must
 * stand in the same order. The simulator's order is that of the WSDL, since it is generated from it.
 */
const QUESTIONS: Readonly<Record<string, readonly string[]>> = {
  VirtualMachine: [
    ...["name", "parent", "overallStatus", "datastore", "network", "resourcePool", "environmentBrowser", "recentTask"],
    ...["config", "config.uuid", "config.files", "config.hardware", "config.hardware.device", "config.template"],
    ...["config.extraConfig", "config.bootOptions", "config.hardware.memoryMB", "config.changeTrackingEnabled"],
    ...["capability", "capability.changeTrackingSupported", "runtime", "runtime.host", "runtime.powerState"],
    ...["guest", "guest.toolsRunningStatus", "summary", "summary.config", "summary.storage.committed", "storage"],
    ...["snapshot", "snapshot.rootSnapshotList", "layoutEx", "layoutEx.file", "guestHeartbeatStatus", "disabledMethod"],
  ],
  VirtualMachineSnapshot: ["config", "config.hardware.device", "childSnapshot", "vm"],
  Task: ["info", "info.state", "info.result", "info.queueTime"],
  Folder: ["name", "childEntity", "childType", "parent"],
  Datacenter: ["name", "vmFolder", "datastoreFolder", "datastore", "network"],
  // Not "info": the simulator's is of a local folder, ours of VMFS.
  Datastore: ["name", "info.freeSpace", "summary", "summary.freeSpace", "host", "vm", "capability", "browser"],
  HostSystem: ["name", "runtime", "runtime.connectionState", "summary", "summary.config", "vm", "datastore"],
  SessionManager: ["currentSession"],
  ServiceInstance: ["content", "content.about", "serverClock"],
};

interface Place {
  readonly soap: RawSoap;
  readonly refs: ReadonlyMap<string, string>;
}

async function ask({ soap }: Place, type: string, ref: string, path: string): Promise<Element | undefined> {
  const text = await soap.call(
    `<RetrievePropertiesEx xmlns="urn:vim25"><_this type="PropertyCollector">propertyCollector</_this><specSet>` +
      `<propSet><type>${type}</type><pathSet>${path}</pathSet></propSet>` +
      `<objectSet><obj type="${type}">${ref}</obj></objectSet></specSet><options></options></RetrievePropertiesEx>`,
  );
  return descend(parseXml(text), ["Body", "RetrievePropertiesExResponse", "returnval", "objects", "propSet", "val"]);
}

function descend(element: Element, names: readonly string[]): Element | undefined {
  let at: Element | undefined = element;
  for (const name of names) at = at?.children.find((child) => child.name === name);
  return at;
}

/** A local name: the simulator and the lab choose different prefixes. */
function typeOf(element: Element): string | undefined {
  return element.attributes.get("{http://www.w3.org/2001/XMLSchema-instance}type")?.replace(/^.*:/, "");
}

/** Where two answers contradict each other. */
function* contradictions(ours: Element, theirs: Element, path: string): Generator<string> {
  const [one, other] = [typeOf(ours), typeOf(theirs)];
  // Inside a structure a type may stay unsaid when it is the declared one.
  if (one !== other && one !== undefined && other !== undefined) yield `${path}: xsi:type ${one} against ${other}`;
  const names = (element: Element): string[] => [...new Set(element.children.map((child) => child.name))];
  const common = names(ours).filter((name) => names(theirs).includes(name));
  const expected = names(theirs).filter((name) => common.includes(name));
  if (common.join() !== expected.join()) yield `${path}: order ${common.join()} against ${expected.join()}`;
  for (const name of common) {
    const [a, b] = [ours, theirs].map((parent) => parent.children.filter((child) => child.name === name));
    for (const [left, right] of pairs(a ?? [], b ?? [])) yield* contradictions(left, right, `${path}/${name}`);
  }
}

/** Items of the same type are compared: lists hold different devices. */
function pairs(ours: readonly Element[], theirs: readonly Element[]): [Element, Element][] {
  if (ours.length === 1 && theirs.length === 1) return [[ours[0]!, theirs[0]!]];
  return ours.flatMap((one): [Element, Element][] => {
    const other = theirs.find((candidate) => typeOf(candidate) === typeOf(one));
    return other === undefined ? [] : [[one, other]];
  });
}

async function prepare(server: Parameters<typeof RawSoap.loggedIn>[0], vmPath: string): Promise<Place> {
  const soap = await RawSoap.loggedIn(server);
  const first = (text: string, tag: string) => new RegExp(`<${tag}[^>]*>([^<]+)</${tag}>`).exec(text)?.[1] ?? "";
  const vm = first(
    await soap.call(
      `<FindByInventoryPath xmlns="urn:vim25"><_this type="SearchIndex">SearchIndex</_this>` +
        `<inventoryPath>${vmPath}</inventoryPath></FindByInventoryPath>`,
    ),
    "returnval",
  );
  const task = first(
    await soap.call(
      `<CreateSnapshot_Task xmlns="urn:vim25"><_this type="VirtualMachine">${vm}</_this><name>s</name>` +
        `<description>d</description><memory>false</memory><quiesce>false</quiesce></CreateSnapshot_Task>`,
    ),
    "returnval",
  );
  const place = { soap, refs: new Map<string, string>() };
  while ((await ask(place, "Task", task, "info.state"))?.text !== "success");
  const one = async (type: string, ref: string, path: string): Promise<string> => {
    const val = await ask(place, type, ref, path);
    return val?.children[0]?.text ?? val?.text ?? "";
  };
  const root = "group-d1";
  const center = await one("Folder", root, "childEntity");
  const refs = new Map([
    ["VirtualMachine", vm],
    ["VirtualMachineSnapshot", (await ask(place, "Task", task, "info.result"))?.text ?? ""],
    ["Task", task],
    ["Folder", root],
    ["Datacenter", center],
    ["Datastore", await one("Datacenter", center, "datastore")],
    ["HostSystem", (await ask(place, "VirtualMachine", vm, "runtime.host"))?.text ?? ""],
    ["SessionManager", "SessionManager"],
    ["ServiceInstance", "ServiceInstance"],
  ]);
  return { soap, refs };
}

await withVcsim(t, async (program) => {
  await t.test("the lab and vcsim agree on types and order", async (t) => {
    const { lab } = await testLab(t);
    await using vcsim = await startVcsim(program);
    const ours = await prepare(lab, "dc1/vm/web01");
    const theirs = await prepare(vcsim, "DC0/vm/DC0_H0_VM0");
    let compared = 0;
    for (const [type, paths] of Object.entries(QUESTIONS)) {
      for (const path of paths) {
        const [a, b] = await Promise.all([
          ask(ours, type, ours.refs.get(type) ?? "", path),
          ask(theirs, type, theirs.refs.get(type) ?? "", path),
        ]);
        if (a === undefined || b === undefined) continue;
        compared++;
        t.equal(typeOf(a), typeOf(b), `${type}.${path}`);
        t.strictSame([...contradictions(a, b, `${type}.${path}`)], [], `${type}.${path}`);
      }
    }
    t.ok(compared > 45, `${compared} answers compared`);
  });
});
