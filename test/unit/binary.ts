import t from "tap";
import {
  Cursor,
  encoded,
  i32,
  i64,
  padding,
  raw,
  struct,
  u16,
  u16be,
  u32,
  u32be,
  u64,
  u64be,
  u64big,
  u64bigbe,
  u8,
  viewOf,
} from "../../src/binary.js";
import { IntegrityError } from "../../src/errors.js";

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex"));
const toHex = (data: Uint8Array): string => Buffer.from(data).toString("hex");

const inner = struct({ low: u16, high: u16be }, 4, "inner");
const sample = struct(
  { byte: u8, gap: padding(3), word: u32, wordBe: u32be, signed: i32, inner, big: u64, bigBe: u64be, tail: raw(4) },
  40,
  "sample",
);
const SAMPLE_HEX = "ff000000 04030201 01020304 feffffff 0100 0001 0000000000400000 0000000000000200 deadbeef";
const SAMPLE = {
  byte: 255,
  word: 0x01020304,
  wordBe: 0x01020304,
  signed: -2,
  inner: { low: 1, high: 1 },
  big: 0x400000000000,
  bigBe: 512,
  tail: hex("deadbeef"),
};

void t.test("a struct reads and writes the bytes its table says", (t) => {
  t.strictSame(sample.decode(viewOf(hex(SAMPLE_HEX)), 0), SAMPLE);
  t.equal(toHex(encoded(sample, SAMPLE)), SAMPLE_HEX.replaceAll(" ", ""));
  t.strictSame(sample.decode(viewOf(hex(`0000 ${SAMPLE_HEX}`)), 2), SAMPLE, "at an offset");
  t.end();
});

void t.test("padding is written as zeros even over old bytes", (t) => {
  const data = new Uint8Array(40).fill(0x55);
  sample.encode(SAMPLE, viewOf(data), 0);
  t.equal(toHex(data), SAMPLE_HEX.replaceAll(" ", ""));
  t.end();
});

void t.test("a table whose fields do not add up fails when it is defined", (t) => {
  t.throws(() => struct({ a: u32 }, 5, "wrong"), new TypeError("Cannot define wrong: its fields take 4 bytes, not 5"));
  t.end();
});

void t.test("one byte short is damaged input, no room to write is a bug", (t) => {
  const short = viewOf(new Uint8Array(39));
  t.throws(
    () => sample.decode(short, 0),
    new IntegrityError("Cannot decode sample: it takes 40 bytes and only 39 are there"),
  );
  t.throws(() => {
    sample.encode(SAMPLE, short, 0);
  }, RangeError);
  t.throws(() => encoded(sample, { ...SAMPLE, tail: hex("00") }), RangeError);
  t.end();
});

void t.test("64-bit numbers are exact or refused", (t) => {
  const largest = hex("ffffffffffff1f00");
  t.equal(u64.decode(viewOf(largest), 0), Number.MAX_SAFE_INTEGER);
  t.throws(() => u64.decode(viewOf(hex("0000000000002000")), 0), IntegrityError);
  t.throws(() => u64.decode(viewOf(new Uint8Array(8).fill(255)), 0), IntegrityError);
  t.equal(i64.decode(viewOf(new Uint8Array(8).fill(255)), 0), -1);
  t.equal(u64big.decode(viewOf(new Uint8Array(8).fill(255)), 0), 2n ** 64n - 1n);
  t.equal(toHex(encoded(u64bigbe, 0x0102030405060708n)), "0102030405060708");
  t.equal(toHex(encoded(i64, -1)), "ffffffffffffffff");
  t.end();
});

void t.test("a raw field is a copy, so the input buffer may be reused", (t) => {
  const data = hex("01020304");
  const copy = raw(4).decode(viewOf(data), 0);
  data.fill(0);
  t.equal(toHex(copy), "01020304");
  t.end();
});

void t.test("the cursor goes front to back and never past the end", (t) => {
  const cursor = new Cursor(hex("0102 04030201 61c3a900 aabb cc").subarray(0));
  t.equal(cursor.take(u16), 0x0201);
  t.equal(cursor.take(u32), 0x01020304);
  t.equal(cursor.cString(), "aé");
  t.equal(toHex(cursor.bytes(2)), "aabb");
  t.equal(cursor.remaining, 1);
  t.throws(() => cursor.bytes(2), new IntegrityError("Cannot decode 2 bytes: only 1 are left"));
  t.throws(() => cursor.take(u16), IntegrityError);
  t.throws(() => cursor.cString(), new IntegrityError("Cannot decode a string: its final NUL is missing"));
  cursor.skip(1);
  t.equal(cursor.remaining, 0);
  t.end();
});
