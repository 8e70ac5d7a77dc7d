import { createHash } from "node:crypto";
import t from "tap";
import { archiveBytes, readTarHeader, writeTarHeader } from "../../../../src/xen/xva/tar-header.js";

void t.test("headers are those that XAPI up to 8.2 writes", (t) => {
  const vectors = [
    ["ova.xml", 26014, "0005754", "69062a926729edfb191cfc2bedf448b09da425f8"],
    ["Ref:20/00000000", 1048576, "0006174", "fc68ac0fa46278c88a5f02ada7935e25b763d6d2"],
    ["Ref:20/00000000.checksum", 40, "0007776", "f50ac471c0b7be3b6b2e1ad976b01fc1ea4ccfe0"],
    ["Ref:20/00000000.xxhash", 16, "0007474", "a081d3890d4987f0be5b6417bedf2492e38251f8"],
  ] as const;
  for (const [name, size, sum, sha1] of vectors) {
    const header = Buffer.alloc(512, 0xff);
    writeTarHeader(header, name, size);
    t.equal(header.toString("latin1", 148, 155), sum, name);
    t.equal(createHash("sha1").update(header).digest("hex"), sha1, name);
    t.strictSame(readTarHeader(header), { name, size });
  }
  t.end();
});

void t.test("headers of other writers are read, other members are refused", (t) => {
  t.equal(readTarHeader(new Uint8Array(512)), undefined);
  const header = Buffer.alloc(512);
  writeTarHeader(header, "a/00000000", 5);
  const changed = (at: number, text: string): Buffer => {
    const copy = Buffer.from(header);
    copy.write(text, at, "latin1");
    copy.fill(" ", 148, 156);
    const sum = copy.reduce((total, byte) => total + byte, 0);
    // As GNU tar writes it.
    copy.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
    return copy;
  };
  t.strictSame(readTarHeader(changed(156, "0")), { name: "a/00000000", size: 5 });
  t.strictSame(readTarHeader(changed(257, "ustar\u000000")), { name: "a/00000000", size: 5 });
  t.throws(() => readTarHeader(changed(156, "5")), { message: /is no regular file/ });
  t.throws(() => readTarHeader(changed(124, "99999999999")), { message: /for a number/ });
  header[0] = 0x7a;
  t.throws(() => readTarHeader(header), { message: /wrong checksum/ });
  t.throws(() => {
    writeTarHeader(header, "x".repeat(101), 1);
  }, RangeError);
  t.equal(archiveBytes(1), 512);
  t.equal(archiveBytes(1024), 1024);
  t.end();
});
