import t from "tap";
import { ExtentMap } from "../../../src/fs/block/extent-map.js";
import { imageFile, memoryFile } from "../../../src/fs/image-file.js";
import { bytes } from "../../../src/units.js";
import { memorySource, patternBytes } from "../../fixtures/block/memory.js";

const { signal } = new AbortController();

void t.test("imageFile() without a map is all data", async (t) => {
  const content = patternBytes(5000);
  const image = imageFile(memorySource(content));
  t.match(image, { size: 5000, allocated: undefined });
  const file = image.open();
  const into = new Uint8Array(100);
  await file.read(into, bytes(4900), { signal });
  t.equal(Buffer.compare(into, content.subarray(4900)), 0);
  t.equal(file.seek(bytes(17), "data"), 17);
  t.equal(file.seek(bytes(17), "hole"), 5000);
  t.notOk("localFile" in file);
  file.release();
});

void t.test("imageFile() with a map has holes", async (t) => {
  const content = patternBytes(4096).fill(0, 1024, 3072);
  const map = await ExtentMap.collect(bytes(4096), [
    { kind: "data", start: bytes(0), length: bytes(1024) },
    { kind: "hole", start: bytes(1024), length: bytes(2048) },
    { kind: "data", start: bytes(3072), length: bytes(1024) },
  ]);
  const image = imageFile(memorySource(content), map);
  t.equal(image.allocated, 2048);
  const file = image.open();
  t.equal(file.seek(bytes(10), "hole"), 1024);
  t.equal(file.seek(bytes(1024), "data"), 3072);
  const into = new Uint8Array(4096);
  await file.read(into, bytes(0), { signal });
  t.equal(Buffer.compare(into, content), 0);
});

void t.test("imageFile() passes a local file on", (t) => {
  const source = { ...memorySource(patternBytes(512)), localFile: () => ({ fd: 7, offset: bytes(0) }) };
  t.strictSame(imageFile(source).open().localFile?.(), { fd: 7, offset: 0 });
  t.end();
});

void t.test("memoryFile() reads its bytes exactly", async (t) => {
  const file = memoryFile(Buffer.from("hello world"));
  t.match(file, { size: 11, allocated: 11 });
  const opened = file.open();
  const into = new Uint8Array(5);
  await opened.read(into, bytes(6), { signal });
  t.equal(Buffer.from(into).toString(), "world");
  await t.rejects(opened.read(into, bytes(7), { signal }), RangeError);
  t.equal(opened.seek(bytes(3), "data"), 3);
  t.equal(opened.seek(bytes(3), "hole"), 11);
  opened.release();
});
