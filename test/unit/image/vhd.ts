import fc from "fast-check";
import t from "tap";
import { VmmountError } from "../../../src/errors.js";
import { parseVhdFooter, parseVhdHeader, parseVhdTable, vhdTableBytes } from "../../../src/image/vhd.js";
import { bytes, GIB, MIB } from "../../../src/units.js";
import { VhdMap } from "../../../src/xen/disks/vhd-map.js";
import { holds } from "../../fixtures/property.js";
import { failureOf } from "../../fixtures/snapshot-session.js";

/** The sum that both structures carry, over themselves with zeros in its place. */
function summed(block: Buffer, at: number): Buffer {
  block.writeUInt32BE(0, at);
  block.writeUInt32BE(~block.reduce((sum, byte) => sum + byte, 0) >>> 0, at);
  return block;
}

function footer(size: number, change: (block: Buffer) => void = () => undefined): Buffer {
  const block = Buffer.alloc(512);
  block.write("conectix");
  block.writeUInt32BE(2, 8);
  block.writeUInt32BE(0x10000, 12);
  block.writeBigUInt64BE(512n, 16);
  block.writeBigUInt64BE(BigInt(size), 40);
  block.writeBigUInt64BE(BigInt(size), 48);
  block.writeUInt32BE(3, 60);
  change(block);
  return summed(block, 64);
}

function header(entries: number, change: (block: Buffer) => void = () => undefined): Buffer {
  const block = Buffer.alloc(1024);
  block.write("cxsparse");
  block.fill(0xff, 8, 16);
  block.writeBigUInt64BE(2048n, 16);
  block.writeUInt32BE(0x10000, 24);
  block.writeUInt32BE(entries, 28);
  block.writeUInt32BE(2 * MIB, 32);
  change(block);
  return summed(block, 36);
}

/** The beginning of an export. @param blocks which are there */
function vhd(size: number, blocks: readonly boolean[]): Buffer {
  const table = Buffer.alloc(Math.ceil((blocks.length * 4) / 512) * 512, 0xff);
  for (const [index, isThere] of blocks.entries()) if (isThere) table.writeUInt32BE(8 + index * 4097, index * 4);
  return Buffer.concat([footer(size), header(blocks.length), Buffer.alloc(512), table]);
}

/** In pieces, as a connection brings them. */
async function* pieces(content: Buffer, bytesEach = 700): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.length; at += bytesEach) {
    await Promise.resolve();
    yield content.subarray(at, at + bytesEach);
  }
}

void t.test("footer, header and table are read", (t) => {
  t.strictSame(parseVhdFooter(footer(5 * GIB)), { currentSize: 5 * GIB, type: "dynamic", headerOffset: 512 });
  const parsed = parseVhdHeader(header(2560));
  t.strictSame(parsed, { tableOffset: 2048, entries: 2560, blockBytes: 2 * MIB });
  t.equal(vhdTableBytes(parsed, bytes(5 * GIB)), 2560 * 4);
  t.throws(() => vhdTableBytes(parsed, bytes(5 * GIB + 1)), { message: /2560 entries, and its disk needs 2561/ });
  t.strictSame([...parseVhdTable(Buffer.from("ffffffff00000008ffffffff", "hex"))], [0, 1, 0]);
  t.end();
});

void t.test("the map is the table, cut at the disk's end", async (t) => {
  const size = bytes(8 * MIB + 512);
  const map = await VhdMap.read(pieces(vhd(10 * MIB, [true, false, false, true, true])), size);
  t.equal(map.allocated, 4 * MIB + 512);
  t.strictSame(
    [...map.extents(bytes(0), size)].map(({ kind, start, length }) => [kind, start, length]),
    [
      ["data", 0, 2 * MIB],
      ["hole", 2 * MIB, 4 * MIB],
      ["data", 6 * MIB, 2 * MIB + 512],
    ],
  );
  t.strictSame(
    [...map.extents(bytes(3 * MIB), bytes(MIB))].map(({ kind, length }) => [kind, length]),
    [["hole", MIB]],
  );
});

void t.test("a stream is left once the table has come", async (t) => {
  let given = 0;
  async function* endless(): AsyncGenerator<Uint8Array> {
    for await (const piece of pieces(vhd(4 * MIB, [true, false]))) yield piece;
    for (;;) {
      given++;
      yield new Uint8Array(65_536);
    }
  }
  await VhdMap.read(endless(), bytes(4 * MIB));
  t.equal(given, 0);
});

void t.test("what is no such export is refused", async (t) => {
  const size = bytes(4 * MIB);
  const good = vhd(size, [true, false]);
  const with_ = (at: number, block: Buffer): Buffer => {
    const copy = Buffer.from(good);
    block.copy(copy, at);
    return copy;
  };
  const cases: Readonly<Record<string, [Buffer, RegExp]>> = {
    nothing: [Buffer.alloc(0), /ends at 0/],
    "half a table": [good.subarray(0, 2050), /ends at 2050/],
    "no VHD": [Buffer.alloc(4096), /cookie/],
    "a broken footer": [with_(100, Buffer.from([1])), /wrong checksum/],
    "a broken header": [with_(512 + 600, Buffer.from([1])), /wrong checksum/],
    "a fixed disk": [
      with_(
        0,
        footer(size, (block) => block.writeUInt32BE(2, 60)),
      ),
      /of type 2/,
    ],
    "differences to a parent": [
      with_(
        0,
        footer(size, (block) => block.writeUInt32BE(4, 60)),
      ),
      /differences/,
    ],
    "a smaller disk": [with_(0, footer(2 * MIB)), /of a disk of 2097152 bytes, not of 4194304/],
    "a header far away": [
      with_(
        0,
        footer(size, (block) => block.writeBigUInt64BE(2n ** 40n, 16)),
      ),
      /header at/,
    ],
    "a header beyond numbers": [
      with_(
        0,
        footer(size, (block) => block.writeBigUInt64BE(2n ** 64n - 1n, 16)),
      ),
      /header at/,
    ],
    "a table far away": [
      with_(
        512,
        header(2, (block) => block.writeBigUInt64BE(2n ** 40n, 16)),
      ),
      /table at/,
    ],
    "odd blocks": [
      with_(
        512,
        header(2, (block) => block.writeUInt32BE(3, 32)),
      ),
      /blocks of 3 bytes/,
    ],
    "a short table": [with_(512, header(1)), /1 entries, and its disk needs 2/],
  };
  for (const [what, [content, message]] of Object.entries(cases)) {
    t.match(await failureOf(VhdMap.read(pieces(content), size)), { name: "IntegrityError", message }, what);
  }
});

void t.test("hostile bytes end in an error of ours or in a map of the disk's size", async (t) => {
  const size = bytes(4 * MIB);
  const good = vhd(size, [true, false]);
  const property = fc.asyncProperty(
    fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 6 }),
    fc.boolean(),
    async (changes, isSummed) => {
      const copy = Buffer.from(good);
      for (const [at, value] of changes) copy[at] = value;
      if (isSummed) {
        summed(copy.subarray(0, 512), 64);
        summed(copy.subarray(512, 1536), 36);
      }
      try {
        const map = await VhdMap.read(pieces(copy), size);
        const sum = [...map.extents(bytes(0), size)].reduce((total, { length }) => total + length, 0);
        return sum === size;
      } catch (error) {
        return error instanceof VmmountError;
      }
    },
  );
  await holds(t, property, { runs: 300 });
});
