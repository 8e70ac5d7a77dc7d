import t from "tap";
import * as requests from "../../../src/vsphere/requests.js";
import { encodeBody, encodeEnvelope, type MoRef } from "../../../src/vsphere/soap-message.js";

/**
 * The wire form of every request, written out by hand in the element order of the vSphere Web Services API reference:
 * real servers reject or ignore misplaced elements, and the simulators take any order.
 */
const VM: MoRef = { type: "VirtualMachine", id: "vm-57" };
const SNAPSHOT: MoRef = { type: "VirtualMachineSnapshot", id: "snapshot-69" };
const COLLECTOR: MoRef = { type: "PropertyCollector", id: "propertyCollector" };
const INDEX: MoRef = { type: "SearchIndex", id: "SearchIndex" };
const SESSIONS: MoRef = { type: "SessionManager", id: "SessionManager" };
const TASK: MoRef = { type: "Task", id: "task-92" };
const spec = { name: "n <1>", description: 'd & "e"', quiesce: true };

const THIS_VM = '<_this type="VirtualMachine">vm-57</_this>';
const THIS_COLLECTOR = '<_this type="PropertyCollector">propertyCollector</_this>';
const THIS_INDEX = '<_this type="SearchIndex">SearchIndex</_this>';

const LITERALS: readonly (readonly [ReturnType<typeof requests.currentTime>, string])[] = [
  [
    requests.retrieveServiceContent(),
    '<RetrieveServiceContent xmlns="urn:vim25"><_this type="ServiceInstance">ServiceInstance</_this></RetrieveServiceContent>',
  ],
  [
    requests.currentTime(),
    '<CurrentTime xmlns="urn:vim25"><_this type="ServiceInstance">ServiceInstance</_this></CurrentTime>',
  ],
  [
    requests.login(SESSIONS, "u@d", "p<w"),
    '<Login xmlns="urn:vim25"><_this type="SessionManager">SessionManager</_this>' +
      "<userName>u@d</userName><password>p&lt;w</password><locale>en_US</locale></Login>",
  ],
  [requests.logout(SESSIONS), '<Logout xmlns="urn:vim25"><_this type="SessionManager">SessionManager</_this></Logout>'],
  [
    requests.retrievePropertiesEx(
      COLLECTOR,
      [{ type: "VirtualMachine", paths: ["name", "config.hardware.device"] }],
      [{ obj: VM }],
      false,
    ),
    `<RetrievePropertiesEx xmlns="urn:vim25">${THIS_COLLECTOR}<specSet><propSet><type>VirtualMachine</type>` +
      "<pathSet>name</pathSet><pathSet>config.hardware.device</pathSet></propSet>" +
      '<objectSet><obj type="VirtualMachine">vm-57</obj></objectSet></specSet><options></options></RetrievePropertiesEx>',
  ],
  [
    requests.retrievePropertiesEx(
      COLLECTOR,
      [{ type: "VirtualMachine", paths: ["name"] }],
      [{ obj: { type: "ContainerView", id: "v-1" }, traverse: { type: "ContainerView", path: "view" } }],
      true,
    ),
    `<RetrievePropertiesEx xmlns="urn:vim25">${THIS_COLLECTOR}<specSet><propSet><type>VirtualMachine</type>` +
      '<pathSet>name</pathSet></propSet><objectSet><obj type="ContainerView">v-1</obj><skip>true</skip>' +
      '<selectSet xsi:type="TraversalSpec"><name>t</name><type>ContainerView</type><path>view</path><skip>false</skip>' +
      "</selectSet></objectSet><reportMissingObjectsInResults>true</reportMissingObjectsInResults></specSet>" +
      "<options></options></RetrievePropertiesEx>",
  ],
  [
    requests.continueRetrievePropertiesEx(COLLECTOR, "t0"),
    `<ContinueRetrievePropertiesEx xmlns="urn:vim25">${THIS_COLLECTOR}<token>t0</token></ContinueRetrievePropertiesEx>`,
  ],
  [
    requests.createPropertyCollector(COLLECTOR),
    `<CreatePropertyCollector xmlns="urn:vim25">${THIS_COLLECTOR}</CreatePropertyCollector>`,
  ],
  [
    requests.destroyPropertyCollector(COLLECTOR),
    `<DestroyPropertyCollector xmlns="urn:vim25">${THIS_COLLECTOR}</DestroyPropertyCollector>`,
  ],
  [
    requests.createFilter(COLLECTOR, { type: "Task", paths: ["info"] }, TASK),
    `<CreateFilter xmlns="urn:vim25">${THIS_COLLECTOR}<spec><propSet><type>Task</type><pathSet>info</pathSet></propSet>` +
      '<objectSet><obj type="Task">task-92</obj></objectSet></spec><partialUpdates>false</partialUpdates></CreateFilter>',
  ],
  [
    requests.waitForUpdatesEx(COLLECTOR, "", 60),
    `<WaitForUpdatesEx xmlns="urn:vim25">${THIS_COLLECTOR}<version></version>` +
      "<options><maxWaitSeconds>60</maxWaitSeconds></options></WaitForUpdatesEx>",
  ],
  [
    requests.createContainerView({ type: "ViewManager", id: "ViewManager" }, { type: "Folder", id: "group-d1" }, [
      "VirtualMachine",
    ]),
    '<CreateContainerView xmlns="urn:vim25"><_this type="ViewManager">ViewManager</_this>' +
      '<container type="Folder">group-d1</container><type>VirtualMachine</type><recursive>true</recursive></CreateContainerView>',
  ],
  [
    requests.destroyView({ type: "ContainerView", id: "session[52c6]52f1 & <x>" }),
    '<DestroyView xmlns="urn:vim25"><_this type="ContainerView">session[52c6]52f1 &amp; &lt;x&gt;</_this></DestroyView>',
  ],
  [
    requests.findByInventoryPath(INDEX, "DC0/vm/a%2fb"),
    `<FindByInventoryPath xmlns="urn:vim25">${THIS_INDEX}<inventoryPath>DC0/vm/a%2fb</inventoryPath></FindByInventoryPath>`,
  ],
  [
    requests.findAllByUuid(INDEX, "2651", false),
    `<FindAllByUuid xmlns="urn:vim25">${THIS_INDEX}<uuid>2651</uuid><vmSearch>true</vmSearch>` +
      "<instanceUuid>false</instanceUuid></FindAllByUuid>",
  ],
  [
    requests.findByUuid(INDEX, "2651", true),
    `<FindByUuid xmlns="urn:vim25">${THIS_INDEX}<uuid>2651</uuid><vmSearch>true</vmSearch>` +
      "<instanceUuid>true</instanceUuid></FindByUuid>",
  ],
  [requests.cancelTask(TASK), '<CancelTask xmlns="urn:vim25"><_this type="Task">task-92</_this></CancelTask>'],
  [
    requests.createSnapshotTask(VM, spec),
    `<CreateSnapshot_Task xmlns="urn:vim25">${THIS_VM}<name>n &lt;1&gt;</name>` +
      "<description>d &amp; &quot;e&quot;</description><memory>false</memory><quiesce>true</quiesce></CreateSnapshot_Task>",
  ],
  [
    requests.createSnapshotExTask(VM, spec, 15),
    `<CreateSnapshotEx_Task xmlns="urn:vim25">${THIS_VM}<name>n &lt;1&gt;</name>` +
      "<description>d &amp; &quot;e&quot;</description><memory>false</memory>" +
      '<quiesceSpec xsi:type="VirtualMachineGuestQuiesceSpec"><timeout>15</timeout></quiesceSpec></CreateSnapshotEx_Task>',
  ],
  [
    requests.createSnapshotExTask(VM, { ...spec, quiesce: false }, 15),
    `<CreateSnapshotEx_Task xmlns="urn:vim25">${THIS_VM}<name>n &lt;1&gt;</name>` +
      "<description>d &amp; &quot;e&quot;</description><memory>false</memory></CreateSnapshotEx_Task>",
  ],
  [
    requests.removeSnapshotTask(SNAPSHOT),
    '<RemoveSnapshot_Task xmlns="urn:vim25"><_this type="VirtualMachineSnapshot">snapshot-69</_this>' +
      "<removeChildren>false</removeChildren><consolidate>true</consolidate></RemoveSnapshot_Task>",
  ],
  [
    requests.consolidateVmDisksTask(VM),
    `<ConsolidateVMDisks_Task xmlns="urn:vim25">${THIS_VM}</ConsolidateVMDisks_Task>`,
  ],
  [
    requests.queryAllocatedAreas(VM, { snapshot: SNAPSHOT, deviceKey: 2000, startOffset: 0 }),
    `<QueryChangedDiskAreas xmlns="urn:vim25">${THIS_VM}<snapshot type="VirtualMachineSnapshot">snapshot-69</snapshot>` +
      "<deviceKey>2000</deviceKey><startOffset>0</startOffset><changeId>*</changeId></QueryChangedDiskAreas>",
  ],
  [
    requests.hasPrivilegeOnEntities(
      { type: "AuthorizationManager", id: "AuthorizationManager" },
      { entities: [VM, { type: "Datastore", id: "datastore-11" }], session: "52-key", privileges: ["A.B", "C.D"] },
    ),
    '<HasPrivilegeOnEntities xmlns="urn:vim25"><_this type="AuthorizationManager">AuthorizationManager</_this>' +
      '<entity type="VirtualMachine">vm-57</entity><entity type="Datastore">datastore-11</entity>' +
      "<sessionId>52-key</sessionId><privId>A.B</privId><privId>C.D</privId></HasPrivilegeOnEntities>",
  ],
  [
    requests.queryEvents(
      { type: "EventManager", id: "EventManager" },
      { vm: VM, since: new Date("2026-03-04T05:06:07Z"), max: 100 },
    ),
    '<QueryEvents xmlns="urn:vim25"><_this type="EventManager">EventManager</_this><filter>' +
      '<entity><entity type="VirtualMachine">vm-57</entity><recursion>self</recursion></entity>' +
      "<time><beginTime>2026-03-04T05:06:07.000Z</beginTime></time><maxCount>100</maxCount></filter></QueryEvents>",
  ],
];

for (const [request, literal] of LITERALS) {
  await t.test(request.method, (t) => {
    t.equal(encodeBody(request), literal);
    t.end();
  });
}

await t.test("every request is pinned here", (t) => {
  const made = Object.values(requests).filter((value) => typeof value === "function").length;
  t.equal(new Set(LITERALS.map(([{ method }]) => method)).size, made);
  t.end();
});

await t.test("the envelope binds every prefix that a body uses", (t) => {
  const text = encodeEnvelope(requests.currentTime());
  t.match(
    text,
    /^<\?xml version="1.0" encoding="UTF-8"\?><soapenv:Envelope [^>]*xmlns:xsi="[^"]+"[^>]*><soapenv:Body><Curr/,
  );
  t.match(text, /<\/CurrentTime><\/soapenv:Body><\/soapenv:Envelope>$/);
  t.end();
});

await t.test("only credentials are secret, and nothing that changes the server is repeated", (t) => {
  const secret = LITERALS.filter(([{ isSecret }]) => isSecret === true).map(([{ method }]) => method);
  t.strictSame(secret, ["Login"]);
  for (const [{ method, isReadOnly }] of LITERALS) {
    t.equal(isReadOnly === true, /^(Retrieve|Continue|Current|Find|Query|Wait|Has)/.test(method), method);
  }
  t.end();
});
