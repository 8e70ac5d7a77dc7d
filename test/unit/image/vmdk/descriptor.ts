import t, { type Test } from "tap";
import { IntegrityError } from "../../../../src/errors.js";
import { NO_PARENT_CID, parseDescriptor } from "../../../../src/image/vmdk/descriptor.js";
import {
  DESCRIPTOR_CHARS_MAX,
  DESCRIPTOR_LINE_CHARS_MAX,
  DESCRIPTOR_LINES_MAX,
} from "../../../../src/image/vmdk/descriptor-lines.js";

const ESXI = [
  "# Disk DescriptorFile",
  "version=1 ",
  'encoding="UTF-8"',
  "CID=a162d8",
  "parentCID=ffffffff",
  'createType="vmfs"',
  "",
  "# Extent description",
  'RW 83886080 VMFS "web01-flat.vmdk"',
  "",
  "# The Disk Data Base ",
  "#DDB",
  "",
  'ddb.adapterType = "lsilogic"',
  'ddb.thinProvisioned = "1"',
  'ddb.uuid = "60 00 C2 9a 8b 1c 2d 3e-4f 50 61 72 83 94 a5 b6"',
  "",
].join("\r\n");

function withExtent(line: string): string {
  return ["version=1", "CID=1", 'createType="custom"', line].join("\n");
}

function refused(t: Test, text: string, message: RegExp): void {
  t.throws(() => parseDescriptor(text), IntegrityError);
  t.throws(() => parseDescriptor(text), { message });
}

void t.test("parseDescriptor() reads what ESXi writes", (t) => {
  t.strictSame(parseDescriptor(ESXI), {
    version: 1,
    encoding: "UTF-8",
    cid: 0xa162d8,
    parentCid: NO_PARENT_CID,
    createType: "vmfs",
    extents: [{ access: "RW", sectors: 83886080, type: "VMFS", name: "web01-flat.vmdk", offset: 0 }],
    ddb: new Map([
      ["ddb.adapterType", "lsilogic"],
      ["ddb.thinProvisioned", "1"],
      ["ddb.uuid", "60 00 C2 9a 8b 1c 2d 3e-4f 50 61 72 83 94 a5 b6"],
    ]),
  });
  t.end();
});

void t.test("parseDescriptor() takes spaces, byte order mark, any case and NUL padding", (t) => {
  const text = '\ufeff  VERSION = 3\n\tcid=FFFFFFFE\n createtype = "seSparse"\nrw 8 sesparse "a b.vmdk"\0\0rubbish';
  const descriptor = parseDescriptor(text);
  t.equal(descriptor.version, 3);
  t.equal(descriptor.cid, 0xfffffffe);
  t.strictSame(descriptor.extents, [{ access: "RW", sectors: 8, type: "SESPARSE", name: "a b.vmdk", offset: 0 }]);
  t.end();
});

void t.test("parseDescriptor() reads extents of every shape", (t) => {
  const extents = ['RW 8 FLAT "a.vmdk" 63', "RDONLY 2 ZERO", 'NOACCESS 4 FLAT "say "hi".vmdk" 5 uuid device'];
  t.strictSame(parseDescriptor(withExtent(extents.join("\n"))).extents, [
    { access: "RW", sectors: 8, type: "FLAT", name: "a.vmdk", offset: 63 },
    { access: "RDONLY", sectors: 2, type: "ZERO", offset: 0 },
    { access: "NOACCESS", sectors: 4, type: "FLAT", name: 'say "hi".vmdk', offset: 5 },
  ]);
  t.end();
});

void t.test("parseDescriptor() reads a decimal content id", (t) => {
  t.equal(parseDescriptor(withExtent("RW 1 ZERO").replace("CID=1", "CID=3149642683")).cid, 3149642683);
  t.end();
});

void t.test("parseDescriptor() reads a child", (t) => {
  const text = withExtent("RW 1 ZERO").replace(
    "CID=1",
    'CID=2\nparentCID=1\nparentFileNameHint="/vmfs/volumes/x/p.vmdk"',
  );
  const descriptor = parseDescriptor(text);
  t.equal(descriptor.parentCid, 1);
  t.equal(descriptor.parentFileNameHint, "/vmfs/volumes/x/p.vmdk");
  t.end();
});

void t.test("parseDescriptor() refuses extents that lead out of the folder", (t) => {
  const names = [
    "/etc/shadow",
    "../x",
    "..",
    ".",
    "",
    "a\\b",
    "c:x",
    "nbd://host",
    "json:{}",
    "vsan://1",
    "host_device:x",
  ];
  for (const name of [...names, "é".repeat(128)]) {
    refused(t, withExtent(`RW 1 FLAT "${name}" 0`), /line 4 .*(file name|extent must)/);
  }
  t.end();
});

void t.test("parseDescriptor() refuses malformed extents", (t) => {
  const lines: [string, RegExp][] = [
    ["RW 1", /ACCESS SECTORS TYPE/],
    ["RW x FLAT", /ACCESS SECTORS TYPE/],
    ["RW -1 FLAT", /ACCESS SECTORS TYPE/],
    ['RW 0 FLAT "a"', /1 to 137438953472 sectors/],
    ['RW 137438953473 FLAT "a"', /1 to 137438953472 sectors/],
    ['RW 9999999999999999999 FLAT "a"', /ACCESS SECTORS TYPE/],
    ['RW 1 ZERO "a"', /no file/],
    ["RW 1 FLAT", /double quotes/],
    ["RW 1 FLAT a.vmdk", /double quotes/],
    ['RW 1 FLAT "a" x', /no offset/],
    ['RW 1 FLAT "a"0', /no offset/],
    ['RW 1 FLAT "a" 137438953472', /beyond 64 TiB/],
    ['RW 137438953472 FLAT "a"\nRW 1 ZERO', /line 5 .*more than 64 TiB/],
  ];
  for (const [line, message] of lines) refused(t, withExtent(line), message);
  t.end();
});

void t.test("parseDescriptor() refuses a header that contradicts itself or lacks a key", (t) => {
  const good = withExtent("RW 1 ZERO");
  const cases: [string, RegExp][] = [
    [good.replace("version=1", "version=4"), /line 1 .*1, 2 or 3/],
    [good.replace("version=1", ""), /no line "version="/],
    [good.replace("CID=1", ""), /no line "CID="/],
    [good.replace("CID=1", "CID=123456789x"), /hexadecimal/],
    [good.replace("CID=1", "CID=9999999999"), /hexadecimal/],
    [good.replace('createType="custom"', ""), /no line "createType="/],
    [good.replace("custom", ""), /type is empty/],
    [good.replace("RW 1 ZERO", ""), /lists no extent/],
    [`${good}\nCID=2`, /line 5 .*twice/],
    [`${good}\nddb.x = "1"\nDDB.X = "2"`, /line 6 .*twice/],
    [`${good}\nparentCID=1`, /parentFileNameHint is absent/],
    [`${good}\nparentFileNameHint="p.vmdk"`, /parentCID says none/],
    [`${good}\nparentCID=1\nparentFileNameHint=""`, /parent is empty/],
    [`${good}\nhello`, /neither a key, an extent nor a comment/],
    [`${good}\nddb.comment = "a\u001b[2J"`, /control characters/],
  ];
  for (const [text, message] of cases) refused(t, text, message);
  t.end();
});

void t.test("parseDescriptor() bounds everything", (t) => {
  const good = withExtent("RW 1 ZERO");
  refused(t, good + " ".repeat(DESCRIPTOR_CHARS_MAX), /characters and the limit/);
  refused(t, good + "\n".repeat(DESCRIPTOR_LINES_MAX), /lines and the limit/);
  refused(t, `${good}\n#${"x".repeat(DESCRIPTOR_LINE_CHARS_MAX)}`, /line 5 .*too long/);
  refused(t, withExtent("RW 1 ZERO\n".repeat(4097)), /limit is 4096/);
  refused(t, good + Array.from({ length: 257 }, (_, i) => `\nddb.x${i} = "1"`).join(""), /more than 256 keys/);
  t.equal(parseDescriptor(withExtent("RW 1 ZERO\n".repeat(4096))).extents.length, 4096);
  t.end();
});

void t.test("parseDescriptor() quotes hostile lines safely in its messages", (t) => {
  t.throws(() => parseDescriptor("\u001b]0;owned\u0007"), { message: /\\u001b\]0;owned\\u0007/ });
  t.end();
});
