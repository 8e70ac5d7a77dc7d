import fc from "fast-check";
import t from "tap";
import { IntegrityError } from "../../../../src/errors.js";
import {
  COWD_HEADER_BYTES,
  COWD_TABLE_BYTES,
  COWD_TABLE_ENTRIES,
  cowdDirectoryBytes,
  cowdPosition,
  decodeCowdDirectory,
  decodeCowdHeader,
  decodeCowdTable,
  emptyCowd,
  encodeCowdEntries,
  encodeCowdHeader,
} from "../../../../src/image/vmdk/cowd.js";
import { sectors } from "../../../../src/units.js";

await t.test("an empty delta has header, directory and nothing else", (t) => {
  // 8 GiB: 16777216 sectors, 4096 per table.
  const layout = emptyCowd(sectors(16_777_216));
  t.strictSame(layout, { capacity: 16_777_216, grain: 1, directory: 4, tables: 4096, free: 36 });
  t.equal(cowdDirectoryBytes(layout), 16384);
  const header = encodeCowdHeader(layout);
  t.equal(header.length, COWD_HEADER_BYTES);
  t.equal(
    Buffer.from(header.subarray(0, 32)).toString("hex"),
    // COWD, version 1, flags 3, sectors, grain 1, directory at 4, entries, free sector
    "434f5744" + "01000000" + "03000000" + "00000001" + "01000000" + "04000000" + "00100000" + "24000000",
  );
  t.ok(header.subarray(32).every((byte) => byte === 0));
  t.end();
});

await t.test("header: what is written is read back, for every capacity", (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 0xffffffff }), (capacity) => {
      const layout = emptyCowd(sectors(capacity));
      t.strictSame(decodeCowdHeader(encodeCowdHeader(layout)), layout);
    }),
    { numRuns: 50 },
  );
  t.throws(() => emptyCowd(sectors(0)), RangeError);
  t.throws(() => emptyCowd(sectors(2 ** 32)), RangeError);
  t.end();
});

await t.test("a header that contradicts itself is refused", (t) => {
  const sound = encodeCowdHeader(emptyCowd(sectors(10_000)));
  const damaged = (offset: number, value: number): Uint8Array => {
    const copy = sound.slice();
    new DataView(copy.buffer).setUint32(offset, value, true);
    return copy;
  };
  const cases: readonly [string, number, number, RegExp][] = [
    ["magic", 0, 0x564d444b, /does not begin with COWD/],
    ["version", 4, 2, /version is 2/],
    ["capacity 0", 12, 0, /capacity is 0/],
    ["grain 0", 16, 0, /grain of 0/],
    ["grain 3", 16, 3, /grain of 3/],
    ["grain 4096", 16, 4096, /grain of 4096/],
    ["directory inside header", 20, 3, /inside the header/],
    ["too few tables", 24, 2, /has 2 entries/],
    ["too many tables", 24, 0xffffffff, /entries and its capacity needs 3/],
  ];
  for (const [name, offset, value, message] of cases) {
    t.throws(() => decodeCowdHeader(damaged(offset, value)), message, name);
    t.throws(() => decodeCowdHeader(damaged(offset, value)), IntegrityError, name);
  }
  t.throws(() => decodeCowdHeader(sound.subarray(0, COWD_HEADER_BYTES - 1)), IntegrityError, "one byte short");
  t.throws(() => decodeCowdHeader(new Uint8Array(COWD_HEADER_BYTES).fill(0xff)), IntegrityError, "all ones");
  t.end();
});

await t.test("directory and tables", (t) => {
  const layout = emptyCowd(sectors(10_000));
  const directory = Uint32Array.from([0, 5, 0]);
  const text = encodeCowdEntries(directory);
  t.equal(text.length, 512);
  t.strictSame(decodeCowdDirectory(text, layout), directory);
  t.throws(() => decodeCowdDirectory(encodeCowdEntries(Uint32Array.from([4, 0, 0])), layout), /sector 4 lies inside/);
  t.throws(() => decodeCowdDirectory(new Uint8Array(11), layout), /3 entries need 12 bytes/);
  const table = new Uint32Array(COWD_TABLE_ENTRIES);
  table[4095] = 37;
  t.equal(encodeCowdEntries(table).length, COWD_TABLE_BYTES);
  t.strictSame(decodeCowdTable(encodeCowdEntries(table), layout), table);
  table[0] = 1;
  t.throws(() => decodeCowdTable(encodeCowdEntries(table), layout), IntegrityError, "a grain in the header");
  t.strictSame(cowdPosition(layout, sectors(4095)), { table: 0, entry: 4095 });
  t.strictSame(cowdPosition(layout, sectors(4096)), { table: 1, entry: 0 });
  t.end();
});
