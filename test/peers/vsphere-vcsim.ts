import t, { type Test } from "tap";
import { errorFacts } from "../../src/errors.js";
import type { Hypervisor } from "../../src/hypervisor.js";
import { connectVsphere } from "../../src/vsphere/connect.js";
import { fetchFingerprint } from "../../src/vsphere/fingerprint.js";
import { hypervisorContract } from "../fixtures/contract/hypervisor.js";
import { recordingLogger } from "../fixtures/recording-logger.js";
import { RawSoap } from "../fixtures/vsphere/raw-soap.js";
import { startVcsim, type Vcsim, withVcsim } from "../fixtures/vsphere/vcsim.js";
import { DISK_BYTES, ESXI_HOST, furnish, VCENTER, VMX, writeDisk } from "../fixtures/vsphere/vcsim-vm.js";

/** Our vSphere client against VMware's own simulator: nobody of this project wrote the server. */
const { signal } = new AbortController();

interface Variant {
  readonly args: readonly string[];
  readonly name: string;
  /** The VM's path with its name at the end. */
  readonly path: string;
  readonly instanceUuid: string;
  readonly biosUuid: string;
  readonly vmCount: number;
}

// The simulator derives UUIDs from names, so they are the same on every run.
const VCENTER_VM = {
  ...VCENTER,
  instanceUuid: "b4689bed-97f0-5bcd-8a4c-07477cc8f06f",
  biosUuid: "265104de-1472-547c-b873-6dc7883fb6cb",
  vmCount: 4,
};
const VARIANTS: Readonly<Record<string, Variant>> = {
  vCenter: VCENTER_VM,
  "vCenter with folders around the datacenter and the VMs": {
    ...VCENTER_VM,
    args: ["-folders", "1"],
    path: "/F0/DC0/F0/DC0_H0_VM0",
  },
  "ESXi host": {
    ...ESXI_HOST,
    instanceUuid: "5c6c5a36-df4d-524e-ab5d-4b1bb43ee274",
    biosUuid: "b03b24de-847f-5b0d-85f4-221b300038a8",
    vmCount: 2,
  },
};

await withVcsim(t, async (program) => {
  for (const [name, variant] of Object.entries(VARIANTS)) {
    await t.test(name, (t) => contractSuite(t, program, variant));
  }
  await t.test("trust", (t) => trustSuite(t, program));
  await t.test("sessions", (t) => sessionSuite(t, program));
});

async function connect(vcsim: Vcsim, more: Partial<Parameters<typeof connectVsphere>[0]> = {}): Promise<Hypervisor> {
  const { url, user, password, fingerprint } = vcsim;
  const { logger } = recordingLogger();
  return connectVsphere({ url, user, password, tls: { fingerprint, insecure: false }, logger, signal, ...more });
}

async function contractSuite(t: Test, program: string, variant: Variant): Promise<void> {
  await using vcsim = await startVcsim(program, variant.args);
  const { name } = variant;
  const admin = await RawSoap.loggedIn(vcsim);
  await setGuestAddress(vcsim, admin, variant);
  await furnish(vcsim, name);
  t.comment("vcsim has no CreateSnapshotEx_Task, no delta disks, no changed block tracking and no file locks");
  await hypervisorContract(t, {
    connect: () => connect(vcsim),
    connectWithWrongPassword: () => connect(vcsim, { password: "wrong" }),
    vm: {
      name,
      path: variant.path,
      instanceUuid: variant.instanceUuid,
      biosUuid: variant.biosUuid,
      configPath: `[LocalDS_0] ${name}/${name}.vmx`,
      address: "192.0.2.17",
      configFiles: [`${name}.vmx`, "machine.nvram"],
      configText: VMX,
      diskNode: "scsi0-0",
      diskSize: DISK_BYTES,
    },
    vmCount: variant.vmCount,
    writeDisk: (content) => writeDisk(vcsim, name, content),
    knowsAllocation: false,
    expireSessions: async () => {
      await admin.terminateOthers();
    },
  });
}

/** The simulator's way to let a guest report an address. */
async function setGuestAddress(vcsim: Vcsim, admin: RawSoap, variant: Variant): Promise<void> {
  await using server = await connect(vcsim);
  const [vm] = await server.findVms({ kind: "instanceuuid", uuid: variant.instanceUuid }, { signal });
  const value = `<key>SET.guest.ipAddress</key><value xsi:type="xsd:string" xmlns:xsd="http://www.w3.org/2001/XMLSchema">192.0.2.17</value>`;
  const answer = await admin.call(
    `<ReconfigVM_Task xmlns="urn:vim25" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">` +
      `<_this type="VirtualMachine">${vm?.ref ?? ""}</_this>` +
      `<spec><extraConfig xsi:type="OptionValue">${value}</extraConfig></spec></ReconfigVM_Task>`,
  );
  if (!answer.includes("ReconfigVM_TaskResponse")) throw new Error(answer);
}

async function trustSuite(t: Test, program: string): Promise<void> {
  await using vcsim = await startVcsim(program);
  const seen = await fetchFingerprint(vcsim.url);
  t.strictSame(seen, { sha256: vcsim.fingerprint, sha1: vcsim.thumbprint });

  await t.test("an unknown certificate is refused with its fingerprint", async (t) => {
    const error: unknown = await connect(vcsim, { tls: { insecure: false } }).catch((error: unknown) => error);
    const facts = errorFacts(error);
    t.equal(facts.kind, "UnreachableError");
    t.equal(facts.code, 68);
    t.equal(facts.retryable, false);
    t.match(facts.message, vcsim.fingerprint);
    t.match(facts.hint, `--fingerprint ${vcsim.fingerprint}`);
  });
  await t.test("another pinned certificate is refused, naming both", async (t) => {
    const fingerprint = "00:".repeat(31) + "01";
    const error: unknown = await connect(vcsim, { tls: { insecure: false, fingerprint } }).catch(
      (error: unknown) => error,
    );
    const facts = errorFacts(error);
    t.equal(facts.kind, "UnreachableError");
    t.equal(facts.retryable, false);
    t.match(facts.message, vcsim.fingerprint);
    t.match(facts.message, fingerprint);
  });
  for (const [what, tls] of Object.entries({
    "a pinned SHA-1 fingerprint": { insecure: false, fingerprint: vcsim.thumbprint },
    "a fingerprint without colons": {
      insecure: false,
      fingerprint: vcsim.fingerprint.replaceAll(":", "").toLowerCase(),
    },
    "the certificate as CA": { insecure: false, ca: vcsim.certificate },
    "no check at all": { insecure: true },
  })) {
    await t.test(`${what} is trusted`, async (t) => {
      await using server = await connect(vcsim, { tls });
      t.match(server.identity, { kind: "vsphere", url: vcsim.url, version: "6.5.0" });
    });
  }
}

async function sessionSuite(t: Test, program: string): Promise<void> {
  await using vcsim = await startVcsim(program);

  await t.test("a wrong password is sent once, and shows nowhere", async (t) => {
    const { logger, lines } = recordingLogger();
    const password = "wr<o>ng&pass";
    const error: unknown = await connect(vcsim, { password, logger }).catch((error: unknown) => error);
    t.equal(errorFacts(error).kind, "AuthError");
    t.equal(lines.filter(({ level, message }) => level === "debug" && message.startsWith("Login ")).length, 1);
    const everything = JSON.stringify(lines) + String(error) + JSON.stringify(errorFacts(error));
    t.notMatch(everything, /wr(<|&lt;)o/);
  });

  await t.test("password and cookie show in no log line of a whole session", async (t) => {
    const { logger, lines } = recordingLogger();
    await using server = await connect(vcsim, { logger });
    const [vm] = await server.findVms({ kind: "any" }, { signal });
    await server.readConfig(vm?.ref ?? "", { signal });
    const everything = JSON.stringify(lines);
    t.notMatch(everything, /w0rd/);
    t.notMatch(everything, /vmware_soap_session/);
    t.match(everything, "RetrievePropertiesEx received");
  });

  await t.test("disposing logs out", async (t) => {
    const admin = await RawSoap.loggedIn(vcsim);
    const server = await connect(vcsim);
    await server[Symbol.asyncDispose]();
    t.equal(await admin.terminateOthers(), 0);
  });

  await t.test("calls side by side share one new login", async (t) => {
    const { logger, lines } = recordingLogger();
    await using server = await connect(vcsim, { logger });
    const admin = await RawSoap.loggedIn(vcsim);
    await admin.terminateOthers();
    await Promise.all([1, 2, 3, 4, 5].map(() => server.findVms({ kind: "any" }, { signal })));
    t.equal(lines.filter(({ message }) => message === "Login ok").length, 2);
  });

  await t.test("a server that is gone is reported at once", async (t) => {
    const other = await startVcsim(program);
    await using server = await connect(other);
    await other[Symbol.asyncDispose]();
    const error: unknown = await server.browse("/", { signal }).catch((error: unknown) => error);
    const facts = errorFacts(error);
    t.equal(facts.kind, "UnreachableError");
    t.equal(facts.retryable, true);
  });
}
