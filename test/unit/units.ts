import t from "tap";
import {
  bytes,
  bytesToSectors,
  GIB,
  KIB,
  MIB,
  parseBytes,
  parseDurationMs,
  sectors,
  sectorsToBytes,
} from "../../src/units.js";

void t.test("bytes() and sectors() take counts only", (t) => {
  t.equal(bytes(0), 0);
  t.equal(sectors(2 ** 53 - 1), 2 ** 53 - 1);
  for (const bad of [-1, 0.5, NaN, Infinity, 2 ** 53]) {
    t.throws(() => bytes(bad), RangeError);
    t.throws(() => sectors(bad), {
      message: `Cannot use ${bad} as a count of sectors: it must be an integer from 0 to 2^53 - 1`,
    });
  }
  t.end();
});

void t.test("sectors and bytes turn into each other", (t) => {
  t.equal(sectorsToBytes(sectors(3)), 1536);
  t.equal(bytesToSectors(bytes(1536)), 3);
  t.equal(bytesToSectors(bytes(1537)), 4);
  t.equal(bytesToSectors(bytes(0)), 0);
  t.throws(() => sectorsToBytes(sectors(2 ** 44 + 1)), RangeError);
  t.end();
});

void t.test("parseBytes() reads sizes as people write them", (t) => {
  const cases: [string, number][] = [
    ["512", 512],
    ["512B", 512],
    ["0", 0],
    ["256MiB", 256 * MIB],
    ["1.5 GiB", 1.5 * GIB],
    [" 4M ", 4 * MIB],
    ["2k", 2 * KIB],
    ["1TiB", 1024 * GIB],
    ["1t", 1024 * GIB],
    ["0.5", 1],
  ];
  for (const [text, value] of cases) t.equal(parseBytes(text), value, text);
  for (const bad of ["", "MiB", "-1", "1e3", "1 PB", "1MB", "1,5G", "0x10", "9000000T", "1 2"]) {
    t.throws(() => parseBytes(bad), RangeError, bad);
  }
  t.throws(() => parseBytes("lots"), { message: /^Cannot read "lots" as a size: / });
  t.end();
});

void t.test("parseDurationMs() reads durations as people write them", (t) => {
  const cases: [string, number][] = [
    ["30", 30_000],
    ["30s", 30_000],
    ["500ms", 500],
    ["5m", 300_000],
    ["2h", 7_200_000],
    ["7D", 604_800_000],
    ["1.5 h", 5_400_000],
    ["0", 0],
  ];
  for (const [text, value] of cases) t.equal(parseDurationMs(text), value, text);
  for (const bad of ["", "s", "-1s", "1w", "1 h 30 m", "99999999999999999999d"]) {
    t.throws(() => parseDurationMs(bad), RangeError, bad);
  }
  t.end();
});
