import t from "tap";
import { IntegrityError } from "../../../src/errors.js";
import { safeFileName } from "../../../src/safe-file-name.js";
import { folderUrl, formatDatastorePath, parseDatastorePath, sibling } from "../../../src/vsphere/datastore-path.js";

await t.test("a datastore path splits at the first bracket", (t) => {
  t.strictSame(parseDatastorePath("[ds1] web01/web01.vmdk"), { datastore: "ds1", path: "web01/web01.vmdk" });
  t.strictSame(parseDatastorePath("[a b] c [x] d/e.vmdk"), { datastore: "a b", path: "c [x] d/e.vmdk" });
  t.equal(formatDatastorePath({ datastore: "ds1", path: "a/b" }), "[ds1] a/b");
  for (const text of [
    "",
    "ds1 a/b",
    "[] a",
    "[ds1]a",
    "[ds1] ",
    "[ds1] ../a",
    "[ds1] a/../../b",
    "[ds1] a/./b",
    "[ds1] a\0b",
  ]) {
    t.throws(() => parseDatastorePath(text), IntegrityError, JSON.stringify(text));
  }
  t.end();
});

await t.test("a sibling is a bare name in the same folder", (t) => {
  const file = parseDatastorePath("[ds1] a/b/x.vmdk");
  t.strictSame(sibling(file, "x-flat.vmdk"), { datastore: "ds1", path: "a/b/x-flat.vmdk" });
  t.strictSame(sibling({ datastore: "d", path: "x" }, "y"), { datastore: "d", path: "y" });
  for (const name of ["", ".", "..", "a/b", "a\\b", "a\0"]) t.throws(() => sibling(file, name), IntegrityError);
  t.end();
});

await t.test("paths are encoded once, names once or twice", (t) => {
  const file = parseDatastorePath("[ds+ä] a b/100%25 #1?.vmdk");
  const path = "/folder/a%20b/100%2525%20%231%3F.vmdk";
  t.equal(folderUrl(file, "F/DC", "once"), `${path}?dcPath=F%2FDC&dsName=ds%2B%C3%A4`);
  t.equal(folderUrl(file, "F/DC", "twice"), `${path}?dcPath=F%252FDC&dsName=ds%252B%25C3%25A4`);
  t.equal(folderUrl({ datastore: "ds1", path: "x" }, undefined, "twice"), "/folder/x?dsName=ds1");
  t.end();
});

await t.test("names of files are safe to show", (t) => {
  t.equal(safeFileName("web01/web01.vmx"), "web01.vmx");
  t.equal(safeFileName("a/.."), "_");
  t.equal(safeFileName("a/"), "_");
  t.equal(safeFileName("a/x\u0000\n\u001b[31m.vmx"), "x___[31m.vmx");
  const long = safeFileName(`${"ä".repeat(300)}.vmx`);
  t.ok(Buffer.byteLength(long) <= 255);
  t.match(long, /^ä+\.vmx$/);
  t.end();
});
