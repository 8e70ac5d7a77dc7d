import type { IncomingMessage, ServerResponse } from "node:http";
import t from "tap";
import { errorFacts } from "../../../src/errors.js";
import type { Hypervisor, OpenedDisk } from "../../../src/hypervisor.js";
import { bytes } from "../../../src/units.js";
import { connectScripted } from "../../fixtures/vsphere/connect-scripted.js";
import { startScriptedVcenter, type Script } from "../../fixtures/vsphere/scripted-vcenter.js";
import { diskDevice, SCSI_CONTROLLER, scriptedVm } from "../../fixtures/vsphere/scripted-vm.js";
import { patternBytes } from "../../fixtures/block/memory.js";
import { blockSourceContract } from "../../fixtures/contract/block-source.js";

const { signal } = new AbortController();
const SIZE = 64 * 1024;
const content = patternBytes(SIZE);
const FLAT = `RW ${SIZE / 512} VMFS "web01-flat.vmdk"`;

function descriptor(extents: string, createType = "vmfs", more = "parentCID=ffffffff"): string {
  return `# Disk DescriptorFile\nversion=1\nCID=12345678\n${more}\ncreateType="${createType}"\n${extents}\n`;
}

type Files = Readonly<Record<string, Uint8Array | string>>;

/** Serves files as the datastore service does, when the query's names are encoded `times` times. */
function datastore(files: Files, times = 2) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    const url = new URL(request.url ?? "", "https://x");
    let names = [url.searchParams.get("dcPath") ?? "", url.searchParams.get("dsName") ?? ""];
    for (let done = 1; done < times; done++) names = names.map(decodeURIComponent);
    const path = decodeURIComponent(url.pathname.slice("/folder/".length));
    const found = names.join("|") === "folder/dc+2|ds+1" ? files[path] : undefined;
    if (found === undefined) {
      response.writeHead(404).end();
      return;
    }
    sendFile(Buffer.from(found), request, response);
  };
}

function sendFile(file: Buffer, request: IncomingMessage, response: ServerResponse): void {
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
  const type = { "content-type": "application/octet-stream" };
  if (range === null) {
    response.writeHead(200, { ...type, "content-length": file.length });
    response.end(request.method === "HEAD" ? undefined : file);
    return;
  }
  const [from, to] = [Number(range[1]), Number(range[2])];
  response.writeHead(206, {
    ...type,
    "content-range": `bytes ${from}-${to}/${file.length}`,
    "content-length": to - from + 1,
  });
  response.end(file.subarray(from, to + 1));
}

const WEB01: Files = { "web 01/web01.vmdk": descriptor(FLAT), "web 01/web01-flat.vmdk": content };
const VM = scriptedVm({ devices: SCSI_CONTROLLER + diskDevice({ bytes: SIZE }) });

async function open(server: Hypervisor): Promise<OpenedDisk> {
  const [disk] = (await server.describeVm("vm-1", { signal, snapshot: "snapshot-1" })).disks;
  return server.openDisk({ vm: "vm-1", snapshot: "snapshot-1", disk: disk! }, { signal });
}

async function failureOf(promise: Promise<unknown>) {
  return errorFacts(
    await promise.then(
      () => undefined,
      (error: unknown) => error,
    ),
  );
}

await t.test("a flat disk", async (t) => {
  let file = content;
  await using vcenter = await startScriptedVcenter(VM, (request, response) => {
    datastore({ ...WEB01, "web 01/web01-flat.vmdk": file })(request, response);
  });
  await using server = await connectScripted(vcenter);
  await blockSourceContract(t, {
    size: SIZE,
    runs: 10,
    open: async (wanted) => {
      file = wanted as typeof content;
      const opened = await open(server);
      t.match(opened, { transport: "https", allocation: "unknown: changed block tracking is off" });
      return opened.source;
    },
  });
});

await t.test("several extents with offsets and a hole are one disk", async (t) => {
  const extents = `RW 32 VMFS "web01-f001.vmdk" 8\nRW 64 ZERO\nRW 32 FLAT "web01-f002.vmdk" 0`;
  const first = Buffer.concat([Buffer.alloc(8 * 512, 0xee), content.subarray(0, 32 * 512)]);
  const files: Files = {
    "web 01/web01.vmdk": descriptor(extents),
    "web 01/web01-f001.vmdk": first,
    "web 01/web01-f002.vmdk": content.subarray(96 * 512),
  };
  await using vcenter = await startScriptedVcenter(VM, datastore(files));
  await using server = await connectScripted(vcenter);
  const { source } = await open(server);
  const read = Buffer.alloc(SIZE, 0x5a);
  await source.read(read, bytes(0), { signal });
  const expected = Buffer.from(content).fill(0, 32 * 512, 96 * 512);
  t.equal(Buffer.compare(read, expected), 0);
  const across = Buffer.alloc(1000);
  await source.read(across, bytes(32 * 512 - 500), { signal });
  t.equal(Buffer.compare(across, expected.subarray(32 * 512 - 500, 32 * 512 + 500)), 0);
});

await t.test("a server that decodes the names only once is understood, and remembered", async (t) => {
  const urls: string[] = [];
  await using vcenter = await startScriptedVcenter(VM, (request, response) => {
    urls.push(request.url ?? "");
    datastore(WEB01, 1)(request, response);
  });
  await using server = await connectScripted(vcenter);
  const { source } = await open(server);
  await source.read(new Uint8Array(512), bytes(0), { signal });
  t.equal(urls[0], "/folder/web%2001/web01.vmdk?dcPath=folder%252Fdc%252B2&dsName=ds%252B1");
  t.equal(urls.filter((url) => url.includes("%252F")).length, 1);
});

await t.test("once an encoding has worked, the other never addresses another datastore", async (t) => {
  const other = Buffer.alloc(SIZE, 0xee);
  for (const times of [1, 2]) {
    let isGone = false;
    const urls: string[] = [];
    await using vcenter = await startScriptedVcenter(VM, (request, response) => {
      urls.push(request.url ?? "");
      const isTwice = request.url?.includes("%252B") === true;
      if (isTwice === (times === 2)) datastore(isGone ? {} : WEB01, times)(request, response);
      // Decoded in the wrong way, the names are those of another datastore, with a file of the same name.
      else if (isGone) sendFile(other, request, response);
      else response.writeHead(404).end();
    });
    await using server = await connectScripted(vcenter);
    const { source } = await open(server);
    const into = new Uint8Array(512);
    await source.read(into, bytes(0), { signal });
    t.equal(Buffer.compare(into, content.subarray(0, 512)), 0);
    isGone = true;
    urls.length = 0;
    t.match(await failureOf(source.read(into, bytes(512), { signal })), { kind: "NotFoundError" }, `decoded ${times}x`);
    t.equal(urls.length, 1, "nothing else was asked for");
    isGone = false;
    await source.read(into, bytes(512), { signal });
    t.equal(Buffer.compare(into, content.subarray(512, 1024)), 0, "and back");
  }
});

await t.test("a page of HTML proves no encoding", async (t) => {
  let pages = 1;
  await using vcenter = await startScriptedVcenter(VM, (request, response) => {
    if (pages-- > 0) response.writeHead(200, { "content-type": "text/html" }).end();
    else datastore(WEB01, 1)(request, response);
  });
  await using server = await connectScripted(vcenter);
  t.equal((await failureOf(open(server))).kind, "NotFoundError");
  t.equal((await open(server)).source.size, SIZE);
});

await t.test("what the https transport cannot read is named", async (t) => {
  const parent = 'parentCID=12345678\nparentFileNameHint="web01-base.vmdk"';
  const cases: readonly (readonly [string, string | RegExp])[] = [
    [
      descriptor('RW 128 VMFSSPARSE "web01-000001-delta.vmdk"', "vmfsSparse", parent),
      "is a VMFS sparse (vmfsSparse) delta",
    ],
    [
      descriptor('RW 128 SESPARSE "web01-000001-sesparse.vmdk"', "seSparse", parent),
      "is an SE sparse (seSparse) delta",
    ],
    [descriptor('RW 128 VMFSRDM "web01-rdm.vmdk"', "vmfsRDM"), "is a raw device mapping (vmfsRDM)"],
    [
      descriptor('RW 128 SPARSE "web01-s001.vmdk"', "twoGbMaxExtentSparse"),
      "is a twoGbMaxExtentSparse link with SPARSE extents",
    ],
    [descriptor(FLAT, "vmfs", parent), "is a vmfs delta of another disk"],
    [descriptor('RW 128 VMFS "vsan://2b0ae556-7e8a"'), "is an object of vSAN"],
    ["KDMV" + "\0".repeat(508), "is an image with its data inside"],
    ["x".repeat(1024 * 1024 + 1), "is an image with its data inside"],
  ];
  for (const [text, reason] of cases) {
    await using vcenter = await startScriptedVcenter(VM, datastore({ ...WEB01, "web 01/web01.vmdk": text }));
    await using server = await connectScripted(vcenter);
    const facts = await failureOf(open(server));
    t.match(facts, { kind: "MissingCapabilityError", code: 69 });
    t.match(facts.message, 'Cannot read "Hard disk 1" (scsi0-0) of "web01": its link [ds+1] web 01/web01.vmdk ');
    t.match(facts.message, reason);
  }
});

await t.test("descriptors that do not fit are refused", async (t) => {
  const cases: readonly (readonly [Files, RegExp])[] = [
    [
      { ...WEB01, "web 01/web01.vmdk": descriptor('RW 64 VMFS "web01-flat.vmdk"') },
      /describes 32768 bytes, but the server says 65536/,
    ],
    [{ ...WEB01, "web 01/web01-flat.vmdk": content.subarray(0, 512) }, /has 512 bytes, but its descriptor needs 65536/],
    [{ ...WEB01, "web 01/web01.vmdk": descriptor('RW 128 VMFS "../other/secret.vmdk"') }, /no usable descriptor/],
    [{ ...WEB01, "web 01/web01.vmdk": "" }, /no usable descriptor/],
  ];
  for (const [files, message] of cases) {
    await using vcenter = await startScriptedVcenter(VM, datastore(files));
    await using server = await connectScripted(vcenter);
    t.match(await failureOf(open(server)), { kind: "IntegrityError", code: 65, message });
  }
});

await t.test("a disk that snapshots leave out, and one that is not there", async (t) => {
  const backing = "<diskMode>independent_persistent</diskMode>";
  const script = scriptedVm({ devices: SCSI_CONTROLLER + diskDevice({ bytes: SIZE, backing }) });
  await using vcenter = await startScriptedVcenter(script, datastore(WEB01));
  await using server = await connectScripted(vcenter);
  t.match(await failureOf(open(server)), { kind: "MissingCapabilityError", message: /independent/ });
  const [disk] = (await server.describeVm("vm-1", { signal })).disks;
  const gone = server.openDisk({ vm: "vm-1", snapshot: "snapshot-1", disk: { ...disk!, key: "1" } }, { signal });
  t.equal((await failureOf(gone)).kind, "NotFoundError");
});

/** Opens the disk, then lets `answer` serve the ranges of its flat file. */
async function readWith(answer: (request: IncomingMessage, response: ServerResponse) => void, script: Script = {}) {
  await using vcenter = await startScriptedVcenter({ ...VM, ...script }, (request, response) => {
    if (request.headers.range === undefined) datastore(WEB01)(request, response);
    else answer(request, response);
  });
  await using server = await connectScripted(vcenter, { limits: { dataStallMs: 1000 } });
  const { source } = await open(server);
  const into = new Uint8Array(1024).fill(0x5a);
  const failure = await failureOf(source.read(into, bytes(512), { signal }));
  return { failure, into, methods: vcenter.methods() };
}

await t.test("a wrong range answer never passes for data", async (t) => {
  const head = (range: string, length = 1024) => ({ "content-range": range, "content-length": length });
  const cases: Readonly<Record<string, readonly [(response: ServerResponse) => void, string, boolean]>> = {
    "another range": [
      (r) => r.writeHead(206, head("bytes 0-1023/65536")).end(Buffer.alloc(1024)),
      "IntegrityError",
      false,
    ],
    "a file that grew": [
      (r) => r.writeHead(206, head("bytes 512-1535/65537")).end(Buffer.alloc(1024)),
      "IntegrityError",
      false,
    ],
    "no Content-Range": [(r) => r.writeHead(206).end(Buffer.alloc(1024)), "IntegrityError", false],
    "the whole file": [(r) => r.writeHead(200).end(content), "IntegrityError", false],
    "too few bytes": [
      (r) => r.writeHead(206, head("bytes 512-1535/65536", 1000)).end(Buffer.alloc(1000)),
      "DiskIoError",
      true,
    ],
    "too many bytes": [
      (r) => r.writeHead(206, head("bytes 512-1535/65536", 2000)).end(Buffer.alloc(2000)),
      "IntegrityError",
      false,
    ],
    "a shorter file": [(r) => r.writeHead(416).end(), "IntegrityError", false],
    "a locked file": [(r) => r.writeHead(500).end("locked"), "DiskIoError", true],
    "a busy server": [(r) => r.writeHead(503).end(), "DiskIoError", true],
    "no privilege": [(r) => r.writeHead(403).end(), "AuthError", false],
    "a teapot": [(r) => r.writeHead(418).end(), "DiskIoError", false],
    "a cut connection": [
      (r) => {
        r.writeHead(206, head("bytes 512-1535/65536")).write(Buffer.alloc(100), () => r.destroy());
      },
      "UnreachableError",
      true,
    ],
    "an answer that stalls": [
      (r) => void r.writeHead(206, head("bytes 512-1535/65536")).write("x"),
      "UnreachableError",
      true,
    ],
  };
  for (const [what, [answer, kind, retryable]] of Object.entries(cases)) {
    const { failure } = await readWith((_, response) => {
      answer(response);
    });
    t.match(failure, { kind, retryable }, what);
  }
});

await t.test("a datastore that has forgotten the session gets a new login", async (t) => {
  let refused = 0;
  const { into, methods } = await readWith((request, response) => {
    if (refused++ === 0) response.writeHead(401).end();
    else sendFile(Buffer.from(content), request, response);
  });
  t.equal(Buffer.compare(into, content.subarray(512, 1536)), 0);
  t.equal(methods.filter((method) => method === "Login").length, 2);

  const never = await readWith((_, response) => response.writeHead(401).end());
  t.equal(never.failure.kind, "AuthError");
});

await t.test("configuration files", async (t) => {
  const vmx = (name: string) => ({
    ...WEB01,
    "web 01/web01.vmx": `nvram = "${name}"\n`,
    "web 01/web01.nvram": "N",
    secret: "S",
  });
  const namesWith = async (files: Files): Promise<string[]> => {
    await using vcenter = await startScriptedVcenter(VM, datastore(files));
    await using server = await connectScripted(vcenter);
    return (await server.readConfig("vm-1", { signal })).map(({ name }) => name);
  };
  t.strictSame(await namesWith(vmx("web01.nvram")), ["web01.vmx", "web01.nvram"]);
  t.strictSame(await namesWith(vmx("../secret")), ["web01.vmx", "web01.nvram"], "a path is not followed");
  t.strictSame(await namesWith(vmx("absent.nvram")), ["web01.vmx"]);
  t.equal((await failureOf(namesWith(WEB01))).kind, "NotFoundError");
  const huge = { ...WEB01, "web 01/web01.vmx": "x".repeat(1024 * 1024 + 1) };
  t.equal((await failureOf(namesWith(huge))).kind, "IntegrityError");
});
