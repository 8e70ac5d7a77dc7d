import t from "tap";
import { diskNodeName } from "../../src/hypervisor.js";
import { hypervisorContract } from "../fixtures/contract/hypervisor.js";
import { MemoryServer, memoryVm } from "../fixtures/memory-hypervisor.js";

void t.test("diskNodeName() names the place of a disk", (t) => {
  t.equal(diskNodeName({ bus: "scsi", busNumber: 1, unit: 15 }), "scsi1-15");
  t.equal(diskNodeName({ bus: "nvme", busNumber: 0, unit: 0 }), "nvme0-0");
  const letters = [0, 25, 26, 51, 52, 701, 702].map((unit) => diskNodeName({ bus: "xvd", busNumber: 0, unit }));
  t.strictSame(letters, ["xvda", "xvdz", "xvdaa", "xvdaz", "xvdba", "xvdzz", "xvdaaa"]);
  t.end();
});

void t.test("the in-memory server of the tests keeps the contract of every hypervisor", async (t) => {
  const identity = {
    name: "web01",
    path: "/dc/web01",
    biosUuid: "42110000-0000-0000-0000-000000000001",
    addresses: ["192.0.2.1", "fd00::1"],
  };
  const vm = memoryVm(identity, {});
  const other = memoryVm(
    { ref: "vm-43", name: "other", path: "/dc/folder/other", instanceUuid: "x", biosUuid: "y" },
    { configPath: "[ds1] other/other.vmx" },
  );
  const server = new MemoryServer([vm, other]);
  const { description } = vm;
  const disk = description.disks[0]!;
  await hypervisorContract(t, {
    connect: () => server.connect(),
    connectWithWrongPassword: () => server.connect("wrong"),
    vm: {
      name: description.identity.name,
      path: description.identity.path,
      biosUuid: identity.biosUuid,
      instanceUuid: description.identity.instanceUuid!,
      configPath: description.configPath,
      address: "192.0.2.1",
      configFiles: vm.configFiles.map(({ name }) => name),
      configText: Buffer.from(vm.configFiles[0]!.bytes).toString(),
      diskNode: diskNodeName(disk.node),
      diskSize: disk.capacity,
    },
    vmCount: 2,
    writeDisk: (content) => {
      server.writeDisk(vm, disk.key, content);
      return Promise.resolve();
    },
    knowsAllocation: false,
    expireSessions: () => Promise.resolve(),
  });
});
