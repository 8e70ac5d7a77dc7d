import t from "tap";
import { errorFacts } from "../../../src/errors.js";
import { diskNodeName, type VmDescription } from "../../../src/hypervisor.js";
import { connectScripted } from "../../fixtures/vsphere/connect-scripted.js";
import { objectContent, startScriptedVcenter, val } from "../../fixtures/vsphere/scripted-vcenter.js";
import { diskDevice, SCSI_CONTROLLER, type ScriptedVm, scriptedVm } from "../../fixtures/vsphere/scripted-vm.js";

const { signal } = new AbortController();

async function describe(vm: ScriptedVm): Promise<VmDescription> {
  await using vcenter = await startScriptedVcenter(scriptedVm(vm));
  await using server = await connectScripted(vcenter);
  return await server.describeVm("vm-1", { signal });
}

function controller(model: string, key: number, bus = 0): string {
  return `<VirtualDevice xsi:type="${model}"><key>${key}</key><busNumber>${bus}</busNumber></VirtualDevice>`;
}

await t.test("disks are named after controller, bus and unit", async (t) => {
  const controllers = [
    controller("VirtualIDEController", 201, 1),
    SCSI_CONTROLLER,
    controller("VirtualLsiLogicSASController", 1003, 3),
    controller("VirtualAHCIController", 15000),
    controller("VirtualNVMEController", 31000),
  ];
  const disks = [
    diskDevice({ bytes: 4096, controllerKey: 201, unit: 1 }),
    diskDevice({ bytes: 4096, controllerKey: 1000, unit: 15 }),
    diskDevice({ bytes: 4096, controllerKey: 1003, unit: 2 }),
    diskDevice({ bytes: 4096, controllerKey: 15000, unit: 29 }),
    diskDevice({ bytes: 4096, controllerKey: 31000, unit: 3 }),
  ];
  const description = await describe({ devices: [...disks, ...controllers].join("") });
  t.strictSame(
    description.disks.map(({ node }) => diskNodeName(node)),
    ["ide1-1", "scsi0-15", "scsi3-2", "sata0-29", "nvme0-3"],
  );
  t.equal(description.identity.path, "/folder/dc+2/web01");
  t.match(description.hardware, { cpus: 2, memory: 1024 * 1024 * 1024, coresPerSocket: undefined });
  t.equal(description.configPath, "[ds+1] web 01/web01.vmx");
});

await t.test("the backing is kept: mode, uuid, change id and the whole chain", async (t) => {
  const backing =
    "<diskMode>persistent</diskMode><thinProvisioned>true</thinProvisioned><uuid>6000C29a-1</uuid><changeId>52 1/7</changeId>" +
    '<parent xsi:type="VirtualDiskFlatVer2BackingInfo"><fileName>[ds] a/a-000001.vmdk</fileName><diskMode>persistent</diskMode>' +
    '<parent xsi:type="VirtualDiskFlatVer2BackingInfo"><fileName>[ds] a/a.vmdk</fileName></parent></parent>';
  const [disk] = (await describe({ devices: SCSI_CONTROLLER + diskDevice({ bytes: 4096, backing }) })).disks;
  t.match(disk, {
    key: "2000",
    label: "Hard disk 1",
    controllerModel: "ParaVirtualSCSIController",
    capacity: 4096,
    backing: "VirtualDiskFlatVer2BackingInfo",
    parents: ["[ds] a/a-000001.vmdk", "[ds] a/a.vmdk"],
    mode: "persistent",
    thin: true,
    uuid: "6000C29a-1",
    changeId: "52 1/7",
    excludedBecause: undefined,
  });
});

await t.test("disks that no snapshot can hold say why", async (t) => {
  const cases: readonly (readonly [string, string, RegExp | undefined])[] = [
    [
      "VirtualDiskFlatVer2BackingInfo",
      "<diskMode>independent_persistent</diskMode>",
      /independent \(independent_persistent\)/,
    ],
    ["VirtualDiskFlatVer2BackingInfo", "<diskMode>independent_nonpersistent</diskMode>", /independent/],
    [
      "VirtualDiskRawDiskMappingVer1BackingInfo",
      "<compatibilityMode>physicalMode</compatibilityMode>",
      /physical mode/,
    ],
    ["VirtualDiskRawDiskMappingVer1BackingInfo", "<compatibilityMode>virtualMode</compatibilityMode>", undefined],
    [
      "VirtualDiskFlatVer2BackingInfo",
      "<diskMode>persistent</diskMode><sharing>sharingMultiWriter</sharing>",
      /multi-writer/,
    ],
    [
      "VirtualDiskFlatVer2BackingInfo",
      "<diskMode>persistent</diskMode><keyId><keyId>k1</keyId></keyId>",
      /encrypted, and its files on the datastore hold only cipher text/,
    ],
    ["VirtualDiskFlatVer2BackingInfo", "<diskMode>persistent</diskMode><sharing>sharingNone</sharing>", undefined],
    ["VirtualDiskLocalPMemBackingInfo", "<diskMode>persistent</diskMode>", /persistent memory/],
    ["VirtualDiskRawDiskVer2BackingInfo", "", /raw device/],
    ["VirtualDiskSeSparseBackingInfo", "<diskMode>persistent</diskMode>", undefined],
  ];
  for (const [xsiType, backing, reason] of cases) {
    const devices = SCSI_CONTROLLER + diskDevice({ bytes: 4096, xsiType, backing });
    const [disk] = (await describe({ devices })).disks;
    if (reason === undefined) t.equal(disk?.excludedBecause, undefined, xsiType);
    else t.match(disk?.excludedBecause, reason, xsiType);
  }
  const [lost] = (await describe({ devices: diskDevice({ bytes: 4096 }) })).disks;
  t.match(lost?.excludedBecause, /controller that is not known/);
});

await t.test("network cards are found by their address", async (t) => {
  const card =
    '<VirtualDevice xsi:type="VirtualVmxnet9"><key>4000</key><deviceInfo><label>Network adapter 1</label></deviceInfo>' +
    '<backing xsi:type="VirtualEthernetCardNetworkBackingInfo"><deviceName>VM Network</deviceName></backing>' +
    "<addressType>assigned</addressType><macAddress>00:50:56:00:00:01</macAddress></VirtualDevice>";
  const { hardware } = await describe({ devices: SCSI_CONTROLLER + card });
  t.strictSame(hardware.networks, [
    { label: "Network adapter 1", model: "VirtualVmxnet9", mac: "00:50:56:00:00:01", network: "VM Network" },
  ]);
});

await t.test("what makes a snapshot fail is said in words", async (t) => {
  const text = (value: string) => val("xsd:string", value);
  const cases: readonly (readonly [Readonly<Record<string, string>>, RegExp])[] = [
    [{ "runtime.connectionState": text("inaccessible") }, /connection state is "inaccessible"/],
    [{ "config.template": val("xsd:boolean", "true") }, /template/],
    [
      { "runtime.question": val("VirtualMachineQuestionInfo", "<id>1</id><text>Moved or copied?</text>") },
      /Moved or copied\?/,
    ],
    [{ disabledMethod: val("ArrayOfString", "<string>CreateSnapshot_Task</string>") }, /disabled CreateSnapshot_Task/],
    [{ "config.ftInfo": val("FaultToleranceConfigInfo", "<role>1</role>") }, /Fault Tolerance/],
  ];
  for (const [more, reason] of cases) {
    const { snapshotObstacles } = await describe({ more });
    t.equal(snapshotObstacles.length, 1);
    t.match(snapshotObstacles[0], reason);
  }
  t.strictSame((await describe({ more: { "runtime.connectionState": text("connected") } })).snapshotObstacles, []);
});

await t.test("a lost VM without any configuration is still described", async (t) => {
  const state = { name: val("xsd:string", "%2fvmfs%2fx"), "runtime.connectionState": val("xsd:string", "orphaned") };
  await using vcenter = await startScriptedVcenter({
    RetrievePropertiesEx: ({ body }) =>
      body.includes(">vm-1<") ? `<returnval>${objectContent("VirtualMachine", "vm-1", state)}</returnval>` : "",
  });
  await using server = await connectScripted(vcenter);
  const description = await server.describeVm("vm-1", { signal });
  t.match(description, { identity: { name: "/vmfs/x", path: "/%2fvmfs%2fx" }, disks: [], configPath: undefined });
  t.equal(description.snapshotObstacles.length, 1);
  const facts = errorFacts(await server.readConfig("vm-1", { signal }).catch((error: unknown) => error));
  t.equal(facts.kind, "NotFoundError");
});

await t.test("numbers that cannot be are damage, not a crash", async (t) => {
  const broken = diskDevice({ bytes: 4096 }).replace("<capacityInBytes>4096", "<capacityInBytes>-1");
  const facts = errorFacts(await describe({ devices: SCSI_CONTROLLER + broken }).catch((error: unknown) => error));
  t.equal(facts.kind, "IntegrityError");
  const many = "<VirtualDevice/>".repeat(2049);
  t.equal(errorFacts(await describe({ devices: many }).catch((error: unknown) => error)).kind, "IntegrityError");
});
