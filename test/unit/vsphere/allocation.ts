import fc from "fast-check";
import t from "tap";
import type { Extent } from "../../../src/block-source.js";
import { IntegrityError } from "../../../src/errors.js";
import { bytes } from "../../../src/units.js";
import { AllocationMap } from "../../../src/vsphere/allocation-map.js";
import { holds } from "../../fixtures/property.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { connectScripted } from "../../fixtures/vsphere/connect-scripted.js";
import { type ScriptedReply, startScriptedVcenter } from "../../fixtures/vsphere/scripted-vcenter.js";
import { diskDevice, SCSI_CONTROLLER, scriptedVm } from "../../fixtures/vsphere/scripted-vm.js";

const { signal } = new AbortController();
const KIB = 1024;
const SIZE = 512 * KIB;
const DESCRIPTOR = `version=1\nCID=12345678\nparentCID=ffffffff\ncreateType="vmfs"\nRW ${SIZE / 512} VMFS "web01-flat.vmdk"\n`;

function areas(start: number, length: number, changed: readonly (readonly [number, number])[]): string {
  const list = changed.map(([at, size]) => `<changedArea><start>${at}</start><length>${size}</length></changedArea>`);
  return `<returnval><startOffset>${start}</startOffset><length>${length}</length>${list.join("")}</returnval>`;
}

/** Opens a disk of these bytes on a server that answers the allocation query like this. */
async function openWith(content: Uint8Array, reply: (startOffset: number) => ScriptedReply) {
  const backing = "<diskMode>persistent</diskMode><changeId>52 c0 de/7</changeId>";
  const script = scriptedVm({ changeTracking: true, devices: SCSI_CONTROLLER + diskDevice({ bytes: SIZE, backing }) });
  const { logger, lines } = recordingLogger();
  let reads = 0;
  await using vcenter = await startScriptedVcenter(
    {
      ...script,
      QueryChangedDiskAreas: ({ body }) => reply(Number(/<startOffset>(\d+)</.exec(body)?.[1])),
    },
    (request, response) => {
      const file = Buffer.from(request.url?.includes("flat") === true ? content : DESCRIPTOR);
      const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
      const [from, to] = range === null ? [0, file.length - 1] : [Number(range[1]), Number(range[2])];
      if (range !== null) reads++;
      const head = range === null ? {} : { "content-range": `bytes ${from}-${to}/${file.length}` };
      response.writeHead(range === null ? 200 : 206, { ...head, "content-length": to + 1 - from });
      response.end(request.method === "HEAD" ? undefined : file.subarray(from, to + 1));
    },
  );
  await using server = await connectScripted(vcenter, { logger });
  const [disk] = (await server.describeVm("vm-1", { signal, snapshot: "snapshot-1" })).disks;
  const opened = await server.openDisk({ vm: "vm-1", snapshot: "snapshot-1", disk: disk! }, { signal });
  const extents: Extent[] = [];
  if (opened.source.extents !== undefined) {
    for await (const extent of opened.source.extents(bytes(0), opened.source.size, { signal })) extents.push(extent);
  }
  const warnings = lines.filter(({ level, message }) => level === "warn" && message.includes("allocation"));
  return { allocation: opened.allocation, known: opened.source.extents !== undefined, extents, warnings, reads };
}

const half = new Uint8Array(SIZE);
half.fill(1, 64 * KIB, 128 * KIB).fill(2, 256 * KIB, 320 * KIB);

await t.test("an honest map in two pages becomes extents, after probing its holes", async (t) => {
  const found = await openWith(half, (at) =>
    at === 0
      ? areas(0, 256 * KIB, [
          [64 * KIB, 32 * KIB],
          [96 * KIB, 32 * KIB],
        ])
      : areas(256 * KIB, 256 * KIB, [[256 * KIB, 64 * KIB]]),
  );
  t.strictSame(
    found.extents.map(({ kind, start, length }) => [kind, start / KIB, length / KIB]),
    [
      ["hole", 0, 64],
      ["data", 64, 64],
      ["hole", 128, 128],
      ["data", 256, 64],
      ["hole", 320, 192],
    ],
  );
  t.equal(found.allocation, "changed block tracking: 25 % allocated, probed");
  t.equal(found.reads, 34, "both ends of the disk and 32 spots");
  t.strictSame(found.warnings, []);
});

await t.test("a map that lies is thrown away with a warning", async (t) => {
  const lies: Readonly<Record<string, Uint8Array>> = {
    "data everywhere": new Uint8Array(SIZE).fill(1),
    "the first sector": new Uint8Array(SIZE).fill(1, 511, 512),
    "the last sector": new Uint8Array(SIZE).fill(1, SIZE - 1),
  };
  for (const [what, content] of Object.entries(lies)) {
    const found = await openWith(content, () => areas(0, SIZE, [[64 * KIB, 64 * KIB]]));
    t.notOk(found.known, what);
    t.match(found.allocation, /^unknown: .*there is data/);
    t.equal(found.warnings.length, 1);
  }
});

await t.test("a map that makes no sense is thrown away", async (t) => {
  const cases: Readonly<Record<string, string>> = {
    "another start": areas(512, SIZE, []),
    "no progress": areas(0, 0, []),
    "beyond the disk": areas(0, SIZE + 512, []),
    "an area outside": areas(0, SIZE, [[SIZE - 512, 1024]]),
    "an empty area": areas(0, SIZE, [[0, 0]]),
    "a negative area": areas(0, SIZE, [[-512, 512]]),
    "out of order": areas(0, SIZE, [
      [1024, 512],
      [0, 512],
    ]),
    overlapping: areas(0, SIZE, [
      [0, 1024],
      [512, 1024],
    ]),
    "no answer": "",
    "no number": "<returnval><startOffset>0</startOffset><length>many</length></returnval>",
  };
  for (const [what, reply] of Object.entries(cases)) {
    const found = await openWith(half, () => reply);
    t.notOk(found.known, what);
    t.equal(found.warnings.length, 1, what);
  }
});

await t.test("a server that cannot say is no reason to warn", async (t) => {
  for (const fault of ["MethodNotFound", "FileFault", "NotFound", "InvalidArgument"]) {
    const found = await openWith(half, () => ({ fault }));
    t.notOk(found.known);
    t.equal(found.allocation, `unknown: the allocation map cannot be used (${fault})`);
    t.strictSame(found.warnings, []);
  }
});

await t.test("a full map has no holes to probe", async (t) => {
  const found = await openWith(half, () => areas(0, SIZE, [[0, SIZE]]));
  t.match(found.extents, [{ kind: "data", start: 0, length: SIZE }]);
  t.equal(found.reads, 0);
});

/** Any allocation of 64 blocks of 16 bytes as a map, added in pages, beside the same as an array. */
const maps = fc.array(fc.boolean(), { minLength: 64, maxLength: 64 }).map((blocks) => {
  const map = new AllocationMap(bytes(1024), 100);
  blocks.forEach((isData, index) => {
    if (isData) map.add(index * 16, 16, { from: 0, to: 1024 });
  });
  return { map, isData: (at: number) => blocks[Math.floor(at / 16)] === true };
});

await t.test("extents, holes and spots agree with the array of blocks", async (t) => {
  const property = fc.property(maps, fc.nat(1024), fc.nat(1024), ({ map, isData }, a, b) => {
    const [from, end] = [Math.min(a, b), Math.max(a, b)];
    let at = from;
    for (const { kind, start, length } of map.extents(bytes(from), bytes(end - from))) {
      if (start !== at || length === 0) return false;
      for (; at < start + length; at++) if (isData(at) !== (kind === "data")) return false;
    }
    const range = Array.from({ length: end - from }, (_, index) => from + index);
    if (end > from && map.isHole(from, end - from) !== range.every((byte) => !isData(byte))) return false;
    return (
      at === end && map.randomHoleSpots(8, 40).every((spot) => spot.length > 0 && map.isHole(spot.at, spot.length))
    );
  });
  await holds(t, property, { runs: 300 });
});

await t.test("a map is bounded", (t) => {
  const map = new AllocationMap(bytes(1024), 2);
  const page = { from: 0, to: 1024 };
  map.add(0, 16, page);
  map.add(32, 16, page);
  map.add(48, 16, page);
  t.throws(() => {
    map.add(128, 16, page);
  }, IntegrityError);
  t.equal(map.allocated, 48);
  t.end();
});
