import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import t from "tap";
import { KIB, MIB } from "../../../../src/units.js";
import { identifyArchive } from "../../../../src/xen/xva/identify.js";
import { readXva } from "../../../../src/xen/xva/read-xva.js";
import { virtualXva } from "../../../../src/xen/xva/virtual-xva.js";
import { memorySource, patternBytes } from "../../../fixtures/block/memory.js";
import { blockSourceContract } from "../../../fixtures/contract/block-source.js";
import { failureOf } from "../../../fixtures/snapshot-session.js";
import { ovaOfDisks, readAll, xvaInput } from "../../../fixtures/xen/vm-records.js";
import { formatOva } from "../../../../src/xen/xva/ova.js";

const { signal } = new AbortController();

/** A member as GNU tar would write it. */
function member(name: string, data: Uint8Array): Buffer {
  const header = Buffer.alloc(512);
  header.write(name);
  header.write("0000644\0", 100);
  header.write(`${data.length.toString(8).padStart(11, "0")}\0`, 124);
  header.write("0ustar  ", 156);
  header.fill(" ", 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return Buffer.concat([header, data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}

function chunk(id: string, number: number, data: Uint8Array): Buffer {
  const name = `${id}/${String(number).padStart(8, "0")}`;
  const hash = createHash("sha1").update(data).digest("hex");
  return Buffer.concat([member(name, data), member(`${name}.checksum`, Buffer.from(hash))]);
}

/** An archive of one disk, by hand. */
function archiveOf(size: number, chunks: readonly (readonly [number, Uint8Array])[], end = Buffer.alloc(1024)): Buffer {
  const { ova, disks } = ovaOfDisks([size]);
  const id = disks[0]!.id;
  return Buffer.concat([
    member("ova.xml", formatOva(ova)),
    ...chunks.map(([number, data]) => chunk(id, number, data)),
    end,
  ]);
}

void t.test("a disk of an archive keeps the contract of every block source", async (t) => {
  for (const checksum of ["sha1", "xxhash"] as const) {
    await blockSourceContract(t, {
      blockBytes: MIB,
      size: 3 * MIB + 1536,
      runs: 20,
      open: async (content) => {
        const disk = { source: memorySource(content, { granularity: 4 * KIB }) };
        const archive = await readAll(await virtualXva(xvaInput([disk], checksum)));
        const { disks } = await readXva(memorySource(archive), signal);
        await disks[0]!.source.check(signal);
        return disks[0]!.source;
      },
    });
  }
});

void t.test("numbers of chunks are no places: members of no bytes keep a connection alive and count", async (t) => {
  const data = patternBytes(MIB);
  const last = patternBytes(512);
  const none = new Uint8Array(0);
  const archive = archiveOf(6 * MIB + 512, [
    [0, data],
    [1, none],
    [2, none],
    // Two chunks are missing: 3 and 4.
    [5, data],
    [6, data],
    [7, none],
    // One is missing: 8.
    [9, last],
  ]);
  const { disks, ova } = await readXva(memorySource(archive), signal);
  t.ok(ova.objects.length > 5);
  const wanted = Buffer.alloc(6 * MIB + 512);
  for (const place of [0, 3, 4]) wanted.set(data, place * MIB);
  wanted.set(last, 6 * MIB);
  t.equal(Buffer.compare(await readAll(disks[0]!.source), wanted), 0);
  await disks[0]!.source.check(signal);
});

void t.test("what does not follow the rules is refused with the place", async (t) => {
  const [data, tail] = [patternBytes(MIB), patternBytes(MIB)];
  const good = archiveOf(3 * MIB, [
    [0, data],
    [2, tail],
  ]);
  const opened = (archive: Uint8Array) => readXva(memorySource(archive), signal);
  const { disks } = await opened(good);
  t.equal(disks.length, 1);
  const cases: Readonly<Record<string, [Uint8Array, RegExp]>> = {
    "cut off in a chunk": [good.subarray(0, good.length - 600_000), /it is cut off/],
    "the last chunk is missing": [
      archiveOf(3 * MIB, [[0, data]]),
      /disk "Ref:\d+" ends at 1048576 of its 3145728 bytes/,
    ],
    "chunks out of order": [
      archiveOf(3 * MIB, [
        [1, data],
        [0, data],
      ]),
      /is out of order/,
    ],
    "the same chunk twice": [
      archiveOf(3 * MIB, [
        [0, data],
        [0, data],
      ]),
      /is out of order/,
    ],
    "a chunk behind the end": [
      archiveOf(3 * MIB, [
        [0, data],
        [3, data],
      ]),
      /"Ref:\d+\/00000003" lies behind the 3145728 bytes of disk "Ref:\d+"/,
    ],
    "a disk without a size": [
      Buffer.concat([
        member(
          "ova.xml",
          Buffer.from(
            Buffer.from(formatOva(ovaOfDisks([3 * MIB]).ova))
              .toString()
              .replace("<value>3145728<", "<value><"),
          ),
        ),
        chunk("Ref:0001", 0, data),
      ]),
      /gives no size for disk/,
    ],
    "another disk": [
      Buffer.concat([archiveOf(3 * MIB, [[0, data]], Buffer.alloc(0)), chunk("Ref:9999", 2, data)]),
      /"Ref:9999\/00000002" stands where disk/,
    ],
    "no hash": [
      Buffer.concat([
        archiveOf(3 * MIB, [], Buffer.alloc(0)),
        member(`${disks[0]!.id}/00000000`, data),
        Buffer.alloc(1024),
      ]),
      /the hash of .* does not follow it/,
    ],
    "no number": [
      Buffer.concat([
        archiveOf(3 * MIB, [], Buffer.alloc(0)),
        member(`${disks[0]!.id}/x`, data),
        member(`${disks[0]!.id}/x.checksum`, Buffer.alloc(40)),
      ]),
      /has no number/,
    ],
    "an archive of something else": [member("readme", data), /does not begin with ova.xml/],
    "no archive": [new Uint8Array(100), /does not begin with ova.xml/],
    nothing: [new Uint8Array(0), /does not begin with ova.xml/],
    "a broken header": [
      Buffer.concat([archiveOf(3 * MIB, [], Buffer.alloc(0)), Buffer.alloc(512, 1), Buffer.alloc(1024)]),
      /for a number|wrong checksum/,
    ],
  };
  for (const [what, [archive, message]] of Object.entries(cases)) {
    t.match(await failureOf(opened(archive)), { name: "IntegrityError", message }, what);
  }
});

void t.test("damage is found by the hashes", async (t) => {
  const archive = archiveOf(3 * MIB, [
    [0, patternBytes(MIB)],
    [1, patternBytes(MIB)],
    [2, patternBytes(MIB)],
  ]);
  const place = archive.length - 1024 - 3 * 1024 - MIB;
  archive[place] = archive[place]! ^ 1;
  const { disks } = await readXva(memorySource(archive), signal);
  t.match(await failureOf(disks[0]!.source.check(signal)), {
    name: "IntegrityError",
    message: /^Disk "Ref:\d+" is damaged at 1048576: its hash is [0-9a-f]{40}, and "[0-9a-f]{40}" is written behind it/,
  });
});

void t.test("packed archives are known by their first bytes", async (t) => {
  const zstd = Buffer.concat([Buffer.from("28b52ffd", "hex"), Buffer.alloc(600)]);
  t.equal(identifyArchive(zstd), "zstd");
  t.equal(identifyArchive(gzipSync("x")), "gzip");
  t.equal(identifyArchive(member("ova.xml", new Uint8Array(5))), "plain");
  t.equal(identifyArchive(new Uint8Array(2)), "other");
  t.match(await failureOf(readXva(memorySource(gzipSync(patternBytes(5000))), signal)), {
    name: "MissingCapabilityError",
    message: /packed with gzip/,
    hint: "Unpack it with gzip first",
  });
});
