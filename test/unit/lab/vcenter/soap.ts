import t from "tap";
import { faultOf, firstReturn, LabClient } from "../../../fixtures/lab-client.js";
import { testLab } from "../../../fixtures/lab.js";

const PC = ["PropertyCollector", "propertyCollector"] as const;
const MOREF_PATHS = `<propSet><type>VirtualMachine</type><pathSet>name</pathSet></propSet>`;
const { lab } = await testLab(t);
const web01 = lab.vm("web01");

await t.test("what needs a login and what does not", async (t) => {
  const client = new LabClient(lab);
  const versions = await client.http("/sdk/vimServiceVersions.xml");
  t.match(versions.body.toString(), /<name>urn:vim25<\/name>\s*<version>8\.0\.2\.0</);
  const content = await client.call("RetrieveServiceContent", "ServiceInstance", "ServiceInstance");
  t.match(content.text, /<returnval><rootFolder type="Folder">group-d1<\/rootFolder><propertyCollector /);
  t.equal((await client.read("ServiceInstance", "ServiceInstance", "content.about.apiType")).status, 200);
  const refused = await client.call("CurrentTime", "ServiceInstance", "ServiceInstance");
  t.equal(refused.status, 500);
  t.equal(faultOf(refused), "NotAuthenticated");
  t.match(refused.text, /<NotAuthenticatedFault xmlns="urn:vim25" xsi:type="NotAuthenticated"><object type=/);
  t.equal(faultOf(await client.read("VirtualMachine", web01.ref, "name")), "NotAuthenticated");
  t.equal(faultOf(await client.login(lab.user, "wrong")), "InvalidLogin");
  t.equal(client.cookie, undefined);
  t.equal((await client.login()).status, 200);
  t.match(client.cookie, /^vmware_soap_session="[0-9a-f]{40}"$/);
  t.equal(faultOf(await client.login()), "InvalidLogin", "already logged in");
  const ticket = firstReturn((await client.call("AcquireCloneTicket", "SessionManager", "SessionManager")).text);
  const clone = new LabClient(lab);
  const inner = `<cloneTicket>${ticket}</cloneTicket>`;
  t.equal((await clone.call("CloneSession", "SessionManager", "SessionManager", inner)).status, 200);
  t.equal((await clone.call("CurrentTime", "ServiceInstance", "ServiceInstance")).status, 200);
  const reused = await new LabClient(lab).call("CloneSession", "SessionManager", "SessionManager", inner);
  t.equal(faultOf(reused), "InvalidLogin", "a ticket is good once");
  t.equal((await client.call("Logout", "SessionManager", "SessionManager")).status, 200);
  t.equal(faultOf(await client.call("CurrentTime", "ServiceInstance", "ServiceInstance")), "NotAuthenticated");
});

await t.test("sessions end by idling and by force", async (t) => {
  const client = await LabClient.loggedIn(lab);
  const other = await LabClient.loggedIn(lab);
  const key =
    /<key>([^<]+)</.exec((await other.read("SessionManager", "SessionManager", "currentSession")).text)?.[1] ?? "";
  const active = `<sessionID>${key}</sessionID><userName>${lab.user}</userName>`;
  const ask = async () =>
    firstReturn((await client.call("SessionIsActive", "SessionManager", "SessionManager", active)).text);
  t.equal(await ask(), "true");
  const end = await client.call(
    "TerminateSession",
    "SessionManager",
    "SessionManager",
    `<sessionId>${key}</sessionId>`,
  );
  t.equal(end.status, 200);
  t.equal(await ask(), "false");
  t.equal(faultOf(await other.read("VirtualMachine", web01.ref, "name")), "NotAuthenticated");
  lab.expireSessions();
  t.equal(faultOf(await client.read("VirtualMachine", web01.ref, "name")), "NotAuthenticated");
  await client.login();
  lab.rules.configure({ sessionIdleMs: 1 });
  await new Promise((resolve) => setTimeout(resolve, 5));
  t.equal(faultOf(await client.read("VirtualMachine", web01.ref, "name")), "NotAuthenticated", "idle for too long");
  lab.rules.configure({ sessionIdleMs: 1_800_000 });
});

await t.test("requests are taken in WSDL order only", async (t) => {
  const client = await LabClient.loggedIn(lab);
  const create = (inner: string) => client.call("CreateSnapshot_Task", "VirtualMachine", web01.ref, inner);
  const parts = {
    name: "<name>n</name>",
    description: "<description>d</description>",
    memory: "<memory>false</memory>",
    quiesce: "<quiesce>false</quiesce>",
  };
  const cases: readonly [string, string][] = [
    ["memory before name", parts.memory + parts.name + parts.quiesce],
    ["quiesce before memory", parts.name + parts.quiesce + parts.memory],
    ["twice", parts.name + parts.name + parts.memory + parts.quiesce],
    ["unknown", `${parts.name}<foo/>${parts.memory}${parts.quiesce}`],
    ["missing", parts.name + parts.memory],
    ["no boolean", `${parts.name}<memory>no</memory>${parts.quiesce}`],
  ];
  for (const [what, inner] of cases) {
    const answer = await create(inner);
    t.equal(faultOf(answer), "InvalidRequest", what);
  }
  t.strictSame(web01.snapshots, []);
  const objectFirst = `<objectSet><obj type="VirtualMachine">${web01.ref}</obj></objectSet>${MOREF_PATHS}`;
  const swapped = await client.call("RetrievePropertiesEx", ...PC, `<specSet>${objectFirst}</specSet><options/>`);
  t.equal(faultOf(swapped), "InvalidRequest", "objectSet before propSet");
  const noOptions = await client.call(
    "RetrievePropertiesEx",
    ...PC,
    `<specSet>${MOREF_PATHS}<objectSet><obj type="VirtualMachine">${web01.ref}</obj></objectSet></specSet>`,
  );
  t.equal(faultOf(noOptions), "InvalidRequest", "options are required");
  const untyped = `<objectSet><obj type="Folder">group-d1</obj><selectSet><type>Folder</type><path>childEntity</path></selectSet></objectSet>`;
  const plain = await client.call(
    "RetrievePropertiesEx",
    ...PC,
    `<specSet>${MOREF_PATHS}${untyped}</specSet><options/>`,
  );
  t.equal(faultOf(plain), "InvalidRequest", "a traversal needs its xsi:type");
});

await t.test("unknown methods, objects, properties", async (t) => {
  const client = await LabClient.loggedIn(lab);
  t.equal(faultOf(await client.call("ExportVm", "VirtualMachine", web01.ref)), "MethodNotFound");
  t.equal(faultOf(await client.call("Frobnicate", "OvfManager", "OvfManager")), "MethodNotFound");
  t.equal(faultOf(await client.call("PowerOnVM_Task", "VirtualMachine", "vm-9999")), "ManagedObjectNotFound");
  t.equal(faultOf(await client.read("VirtualMachine", "vm-9999", "name")), "ManagedObjectNotFound");
  for (const path of [
    "foo",
    "config.foo",
    "config.hardware.device.key",
    "guest.ipAddress.x",
    "config..name",
    "constructor",
  ]) {
    const answer = await client.read("VirtualMachine", web01.ref, path);
    t.equal(faultOf(answer), "InvalidProperty", path);
  }
  t.equal((await client.envelope("")).status, 500);
  t.equal((await client.http("/sdk", { method: "POST", body: "<a" })).status, 500);
  t.equal(
    (await client.http("/sdk", { method: "POST", body: "x".repeat(5_000_000) }).catch(() => ({ status: 413 }))).status,
    413,
  );
  t.equal((await client.http("/elsewhere")).status, 404);
  t.equal((await client.http("/sdk")).status, 405);
});

await t.test("values carry their types", async (t) => {
  const client = await LabClient.loggedIn(lab);
  const { text } = await client.read(
    "VirtualMachine",
    web01.ref,
    "runtime.host",
    "runtime.powerState",
    "summary.storage.committed",
    "config.hardware.numCPU",
    "config.changeTrackingEnabled",
    "datastore",
    "disabledMethod",
    "config.hardware.device[2000]",
    "snapshot",
    "config.hardware.device[9999]",
  );
  t.match(text, `<name>runtime.host</name><val type="HostSystem" xsi:type="ManagedObjectReference">host-8</val>`);
  t.match(text, `<val xsi:type="VirtualMachinePowerState">poweredOn</val>`);
  t.match(text, /<name>summary.storage.committed<\/name><val xsi:type="xsd:long">\d+</);
  t.match(text, `<val xsi:type="xsd:int">2</val>`);
  t.match(text, `<val xsi:type="xsd:boolean">true</val>`);
  t.match(text, `<val xsi:type="ArrayOfManagedObjectReference"><ManagedObjectReference type="Datastore" xsi:type=`);
  t.match(text, `<val xsi:type="ArrayOfString"><string>PowerOnVM_Task</string>`);
  t.match(text, `<val xsi:type="VirtualDisk"><key>2000</key>`);
  t.match(
    text,
    `<backing xsi:type="VirtualDiskFlatVer2BackingInfo"><fileName>[ds1] web01/web01.vmdk</fileName><datastore type=`,
  );
  t.notMatch(text, "<name>snapshot</name>", "an unset property does not appear");
  t.notMatch(text, "device[9999]");
  const { text: everything } = await client.call(
    "RetrieveProperties",
    ...PC,
    `<specSet><propSet><type>ManagedEntity</type><all>true</all></propSet>` +
      `<objectSet><obj type="VirtualMachine">${web01.ref}</obj></objectSet></specSet>`,
  );
  t.match(everything, `<val xsi:type="VirtualMachineConfigInfo">`);
  t.match(everything, `<val xsi:type="VirtualMachineCapability">`);
  const fetched = await client.call("Fetch", "VirtualMachine", web01.ref, "<prop>name</prop>");
  t.match(fetched.text, `<returnval xsi:type="xsd:string">web01</returnval>`);
});

await t.test("traversal with named selections reaches every machine, in pages", async (t) => {
  const client = await LabClient.loggedIn(lab);
  const select = (name: string) => `<selectSet><name>${name}</name></selectSet>`;
  const walk = (name: string, type: string, path: string, inner: string) =>
    `<selectSet xsi:type="TraversalSpec"><name>${name}</name><type>${type}</type><path>${path}</path><skip>false</skip>${inner}</selectSet>`;
  const spec =
    `<specSet>${MOREF_PATHS}<objectSet><obj type="Folder">group-d1</obj><skip>true</skip>` +
    walk("folder", "Folder", "childEntity", select("folder") + select("center")) +
    walk("center", "Datacenter", "vmFolder", select("folder")) +
    `</objectSet></specSet>`;
  const whole = await client.call("RetrieveProperties", ...PC, spec);
  t.strictSame([...whole.text.matchAll(/<val xsi:type="xsd:string">([^<]+)</g)].map(([, name]) => name).sort(), [
    "J\u00f6rg's &quot;50%25&quot; a%2fb VM",
    "web01",
  ]);
  const page = await client.call("RetrievePropertiesEx", ...PC, `${spec}<options><maxObjects>1</maxObjects></options>`);
  const token = `<token>${/<token>([^<]+)</.exec(page.text)?.[1] ?? ""}</token>`;
  const stranger = await LabClient.loggedIn(lab);
  t.equal(faultOf(await stranger.call("ContinueRetrievePropertiesEx", ...PC, token)), "InvalidArgument");
  const rest = await client.call("ContinueRetrievePropertiesEx", ...PC, token);
  t.match(rest.text, "<objects>");
  t.notMatch(rest.text, "<token>");
  t.equal(faultOf(await client.call("ContinueRetrievePropertiesEx", ...PC, token)), "InvalidArgument", "used");
  lab.rules.configure({ pageSize: 1 });
  t.match(
    (await client.call("RetrievePropertiesEx", ...PC, `${spec}<options/>`)).text,
    "<token>",
    "the server's own limit",
  );
  lab.rules.configure({ pageSize: 100 });
  const unnamed = spec.replace(select("center"), select("nowhere"));
  t.equal(faultOf(await client.call("RetrieveProperties", ...PC, unnamed)), "InvalidArgument");
});

await t.test("updates: enter, modify, leave, versions, cancel", async (t) => {
  const client = await LabClient.loggedIn(lab);
  const own = firstReturn((await client.call("CreatePropertyCollector", ...PC)).text);
  const view = firstReturn(
    (
      await client.call(
        "CreateContainerView",
        "ViewManager",
        "ViewManager",
        `<container type="Folder">group-d1</container><type>VirtualMachine</type><recursive>true</recursive>`,
      )
    ).text,
  );
  const filter =
    `<spec><propSet><type>VirtualMachine</type><pathSet>snapshot</pathSet></propSet><objectSet>` +
    `<obj type="ContainerView">${view}</obj><skip>true</skip><selectSet xsi:type="TraversalSpec"><type>ContainerView</type>` +
    `<path>view</path></selectSet></objectSet></spec><partialUpdates>false</partialUpdates>`;
  const made = firstReturn((await client.call("CreateFilter", "PropertyCollector", own, filter)).text);
  const wait = (version: string, options: string) =>
    client.call(
      "WaitForUpdatesEx",
      "PropertyCollector",
      own,
      `<version>${version}</version><options>${options}</options>`,
    );
  const first = await wait("", "<maxWaitSeconds>5</maxWaitSeconds><maxObjectUpdates>1</maxObjectUpdates>");
  t.match(first.text, "<truncated>true</truncated>");
  const second = await wait("1", "<maxWaitSeconds>5</maxWaitSeconds>");
  t.match(second.text, "<kind>enter</kind>");
  t.notMatch((await wait("2", "<maxWaitSeconds>0</maxWaitSeconds>")).text, "<returnval>", "nothing new");
  t.equal(faultOf(await wait("1", "<maxWaitSeconds>0</maxWaitSeconds>")), "InvalidCollectorVersion");
  const held = wait("2", "<maxWaitSeconds>20</maxWaitSeconds>");
  const snapshot = await client.snapshot(web01.ref, "s");
  t.match((await held).text, /<kind>modify<\/kind>.*<name>snapshot<\/name><op>assign<\/op><val xsi:type=/s);
  await client.removeSnapshot(snapshot);
  t.match((await wait("3", "<maxWaitSeconds>5</maxWaitSeconds>")).text, /<op>assign<\/op><\/changeSet>/, "unset");
  await client.call("DestroyView", "ContainerView", view);
  t.match((await wait("4", "<maxWaitSeconds>5</maxWaitSeconds>")).text, "<kind>leave</kind>");
  const cancelled = wait("5", "<maxWaitSeconds>20</maxWaitSeconds>");
  // Cancelled when the wait has arrived, however long that takes.
  for (let done = false; !done;) {
    await client.call("CancelWaitForUpdates", "PropertyCollector", own);
    done = await Promise.race([
      cancelled.then(() => true),
      new Promise<boolean>((go) =>
        setImmediate(() => {
          go(false);
        }),
      ),
    ]);
  }
  t.equal(faultOf(await cancelled), "RequestCanceled");
  t.equal((await client.call("DestroyPropertyFilter", "PropertyFilter", made)).status, 200);
  t.equal((await client.call("DestroyPropertyCollector", "PropertyCollector", own)).status, 200);
  t.equal(faultOf(await wait("", "")), "ManagedObjectNotFound");
});

await t.test("searching", async (t) => {
  const client = await LabClient.loggedIn(lab);
  const search = async (method: string, inner: string) => {
    const { text } = await client.call(method, "SearchIndex", "SearchIndex", inner);
    return /<returnval[^>]*>([^<]*)</.exec(text)?.[1];
  };
  const path = (text: string) => search("FindByInventoryPath", `<inventoryPath>${text}</inventoryPath>`);
  const awkward = lab.vms.find((vm) => vm !== web01)?.ref;
  t.equal(await path("/dc1/vm/web01"), web01.ref);
  t.equal(await path(`dc1/vm/Test VMs/J\u00f6rg's "50%25" a%2fb VM`), awkward);
  t.equal(await path(`dc1/vm/Test VMs/J\u00f6rg's "50%25" a%2Fb VM`), awkward);
  t.equal(await path("dc1/web01"), undefined);
  t.equal(await path("dc1"), "datacenter-2");
  t.equal(await path("dc1/datastore/ds1"), "datastore-11");
  t.equal(await search("FindByIp", "<ip>10.20.30.11</ip><vmSearch>true</vmSearch>"), web01.ref);
  t.equal(await search("FindByIp", "<ip>10.20.30.11</ip><vmSearch>false</vmSearch>"), undefined);
  t.equal(await search("FindByDnsName", "<dnsName>WEB01.lab.example</dnsName><vmSearch>true</vmSearch>"), web01.ref);
  t.equal(
    await search("FindAllByUuid", `<uuid>${web01.biosUuid.toUpperCase()}</uuid><vmSearch>true</vmSearch>`),
    web01.ref,
  );
  t.equal(await search("FindChild", `<entity type="Folder">group-v3</entity><name>web01</name>`), web01.ref);
});
