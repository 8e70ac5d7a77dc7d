import fc from "fast-check";
import t from "tap";
import type { Extent } from "../../../src/block-source.js";
import { IntegrityError } from "../../../src/errors.js";
import { bytes } from "../../../src/units.js";
import { AllocationMap } from "../../../src/vsphere/allocation-map.js";
import type { VsphereLimits } from "../../../src/vsphere/limits.js";
import { holds } from "../../fixtures/property.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { connectScripted } from "../../fixtures/vsphere/connect-scripted.js";
import { type ScriptedReply, startScriptedVcenter } from "../../fixtures/vsphere/scripted-vcenter.js";
import { diskDevice, SCSI_CONTROLLER, scriptedVm } from "../../fixtures/vsphere/scripted-vm.js";

const { signal } = new AbortController();
const KIB = 1024;
const SIZE = 512 * KIB;
const MIB = 1024 * KIB;

interface Opening {
  readonly signal?: AbortSignal;
  readonly limits?: Partial<VsphereLimits>;
  /** The status of the answer to the `count`-th range that is read. */
  readonly status?: (count: number) => number;
}

function areas(start: number, length: number, changed: readonly (readonly [number, number])[]): string {
  const list = changed.map(([at, size]) => `<changedArea><start>${at}</start><length>${size}</length></changedArea>`);
  return `<returnval><startOffset>${start}</startOffset><length>${length}</length>${list.join("")}</returnval>`;
}

/** Opens a disk of these bytes on a server that answers the allocation query like this. */
async function openWith(
  content: Uint8Array<ArrayBuffer>,
  reply: (startOffset: number, count: number) => ScriptedReply,
  options: Opening = {},
) {
  const size = content.length;
  const descriptor = `version=1\nCID=12345678\nparentCID=ffffffff\ncreateType="vmfs"\nRW ${size / 512} VMFS "web01-flat.vmdk"\n`;
  const backing = "<diskMode>persistent</diskMode><changeId>52 c0 de/7</changeId>";
  const script = scriptedVm({ changeTracking: true, devices: SCSI_CONTROLLER + diskDevice({ bytes: size, backing }) });
  const { logger, lines } = recordingLogger();
  let reads = 0;
  let [running, atOnce] = [0, 0];
  await using vcenter = await startScriptedVcenter(
    {
      ...script,
      QueryChangedDiskAreas: ({ body, count }) => reply(Number(/<startOffset>(\d+)</.exec(body)?.[1]), count),
    },
    (request, response) => {
      const file = request.url?.includes("flat") === true ? Buffer.from(content.buffer) : Buffer.from(descriptor);
      const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
      const [from, to] = range === null ? [0, file.length - 1] : [Number(range[1]), Number(range[2])];
      if (range !== null) {
        reads++;
        atOnce = Math.max(atOnce, ++running);
        response.on("close", () => running--);
        const status = options.status?.(reads) ?? 206;
        if (status !== 206) {
          response.writeHead(status).end();
          return;
        }
      }
      const head = range === null ? {} : { "content-range": `bytes ${from}-${to}/${file.length}` };
      response.writeHead(range === null ? 200 : 206, { ...head, "content-length": to + 1 - from });
      response.end(request.method === "HEAD" ? undefined : file.subarray(from, to + 1));
    },
  );
  await using server = await connectScripted(vcenter, { logger, limits: options.limits ?? {} });
  const [disk] = (await server.describeVm("vm-1", { signal, snapshot: "snapshot-1" })).disks;
  const opened = await server.openDisk(
    { vm: "vm-1", snapshot: "snapshot-1", disk: disk! },
    { signal: options.signal ?? signal },
  );
  const extents: Extent[] = [];
  if (opened.source.extents !== undefined) {
    for await (const extent of opened.source.extents(bytes(0), opened.source.size, { signal })) extents.push(extent);
  }
  const warnings = lines.filter(({ level, message }) => level === "warn" && message.includes("allocation"));
  const known = opened.source.extents !== undefined;
  return { allocation: opened.allocation, known, extents, warnings, reads, atOnce };
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
  t.equal(found.reads, 2 + 6 + 96, "both ends of the disk and of three holes, and one spot for each 4 KiB of holes");
  t.ok(found.atOnce <= 8, `${found.atOnce} at once`);
  t.strictSame(found.warnings, []);
});

await t.test("a map that lies is thrown away with a warning", async (t) => {
  const lies: Readonly<Record<string, Uint8Array<ArrayBuffer>>> = {
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

await t.test("a map that misses 1 % of the hole bytes in one piece is always caught", async (t) => {
  const size = 32 * MIB;
  const missed = Math.ceil((size - 64 * KIB) / 100);
  for (let run = 0; run < 10; run++) {
    const at = 64 * KIB + Math.floor(Math.random() * (size - 64 * KIB - missed - 512));
    const found = await openWith(new Uint8Array(size).fill(1, 0, 64 * KIB).fill(2, at, at + missed), () =>
      areas(0, size, [[0, 64 * KIB]]),
    );
    t.notOk(found.known, `at ${at}`);
    t.ok(found.reads <= 400, `${found.reads} reads`);
  }
});

await t.test("one byte where wrong maps are likely to be wrong is enough", async (t) => {
  const size = 32 * MIB;
  const map = areas(0, size, [
    [0, 64 * KIB],
    [8 * MIB, MIB],
  ]);
  const gptEntry = 2 * 512 + 127 * 128;
  const cases: Readonly<Record<string, (disk: DataView) => number>> = {
    "the begin of a hole": () => 64 * KIB + 4095,
    "the end of a hole": () => 8 * MIB - 4096,
    "a partition of the MBR": (disk) => {
      disk.setUint8(446 + 16 + 4, 0x83);
      disk.setUint32(446 + 16 + 8, 4096, true);
      return 2 * MIB + 1024;
    },
    "the last partition of a GPT": (disk) => {
      disk.setUint8(446 + 4, 0xee);
      "EFI PART".split("").forEach((letter, index) => {
        disk.setUint8(512 + index, letter.charCodeAt(0));
      });
      disk.setBigUint64(512 + 72, 2n, true);
      disk.setUint32(512 + 80, 128, true);
      disk.setUint32(512 + 84, 128, true);
      disk.setUint8(gptEntry, 1);
      disk.setBigUint64(gptEntry + 32, 6144n, true);
      return 3 * MIB;
    },
  };
  for (const [what, lay] of Object.entries(cases)) {
    const content = new Uint8Array(size);
    const disk = new DataView(content.buffer);
    disk.setUint16(510, 0x55aa);
    const at = lay(disk);
    t.ok((await openWith(content, () => map)).known, `${what}, empty`);
    content[at] = 1;
    const found = await openWith(content, () => map);
    t.notOk(found.known, what);
    t.match(found.allocation, /there is data/);
  }
});

await t.test("a busy server gets time", async (t) => {
  const map = areas(0, SIZE, [
    [64 * KIB, 64 * KIB],
    [256 * KIB, 64 * KIB],
  ]);
  const found = await openWith(half, () => map, { status: (count) => (count === 5 ? 503 : 206) });
  t.ok(found.known, "one busy answer to a probe");
  t.strictSame(found.warnings, []);
  const asked = await openWith(half, (_, count) => (count === 1 ? { status: 503, body: "" } : map));
  t.ok(asked.known, "one busy answer to the question");
});

await t.test("a map that cannot be checked is thrown away, and the mount goes on", async (t) => {
  const map = areas(0, SIZE, [[64 * KIB, 64 * KIB]]);
  for (const [status, reads] of [
    [503, 4 * 8],
    [403, 8],
    [416, 8],
  ] as const) {
    const found = await openWith(half, () => map, { status: () => status });
    t.notOk(found.known, `HTTP ${status}`);
    t.match(found.allocation, `HTTP ${status}`);
    t.equal(found.warnings.length, 1);
    t.ok(found.reads <= reads, `${found.reads} reads, then no more`);
  }
  const slow = await openWith(half, () => ({ end: "silence" }), { limits: { allocationMs: 200 } });
  t.match(slow.allocation, /^unknown: .*within 0.2 s/);
  const lost = await openWith(half, () => ({ status: 404, body: "" }));
  t.match(lost.allocation, /^unknown: /);
});

await t.test("who gives up is told so, and nothing else", async (t) => {
  const reason = new Error("changed my mind");
  for (const where of ["question", "probe"]) {
    const stop = new AbortController();
    const opening = openWith(
      half,
      () => {
        if (where === "question") stop.abort(reason);
        return areas(0, SIZE, [[64 * KIB, 64 * KIB]]);
      },
      {
        signal: stop.signal,
        status: () => {
          stop.abort(reason);
          return 503;
        },
      },
    );
    t.equal(await opening.catch((error: unknown) => error), reason, where);
  }
});

await t.test("a server that tells its map in endless pieces is not followed", async (t) => {
  let calls = 0;
  const limits = { changedAreaPagesMax: 10, changedAreasMax: 10 };
  const found = await openWith(
    half,
    (at) => {
      // The test ends either way.
      calls++;
      return areas(at, calls > 50 ? SIZE - at : 1, []);
    },
    { limits },
  );
  t.match(found.allocation, "unknown: the allocation map cannot be used (the server needs more than 10 calls");
  t.equal(calls, 10);
  t.equal(found.warnings.length, 1);
  const neighbours = Array.from({ length: 11 }, (_, index) => [64 * KIB + index * 512, 512] as const);
  const many = await openWith(half, () => areas(0, SIZE, neighbours), { limits });
  t.match(many.allocation, "more than 10 areas");
  t.equal(many.warnings.length, 1);
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

await t.test("every share of the holes has its spot, and the largest holes their ends", async (t) => {
  const property = fc.property(maps, fc.integer({ min: 1, max: 20 }), ({ map, isData }, count) => {
    const holes = Array.from({ length: 1024 }, (_, at) => at).filter((at) => !isData(at));
    const isFree = (at: number): boolean => at >= 0 && at < 1024 && !isData(at);
    const spots = map.randomHoleSpots(count, 1);
    const share = holes.length / count;
    if (count < holes.length) {
      const places = spots.map(({ at }) => holes.indexOf(at));
      const isInShare = (place: number, index: number): boolean =>
        place >= Math.floor(index * share) && place < Math.ceil((index + 1) * share);
      if (places.length !== count || !places.every(isInShare)) return false;
    }
    const ends = holes.filter((at) => !isFree(at - 1) || !isFree(at + 1));
    const found = map.largestHoleEnds(1024, 1).map(({ at }) => at);
    const [largest] = map.largestHoleEnds(1, 1024);
    const isLargest = holes.every((at) => !map.isHole(at, (largest?.length ?? 0) + 1));
    return found.sort((a, b) => a - b).join() === ends.join() && (holes.length === 0 || isLargest);
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
