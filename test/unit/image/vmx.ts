import fc from "fast-check";
import t from "tap";
import { uuidOfHexBytes, Vmx, VMX_BYTES_MAX } from "../../../src/image/vmx.js";
import { holds } from "../../fixtures/property.js";

const parse = (text: string | Uint8Array): Vmx => Vmx.parse(typeof text === "string" ? Buffer.from(text) : text);

void t.test("Vmx reads what VMware writes", (t) => {
  const vmx = parse(`#!/usr/bin/vmware
.encoding = "UTF-8"
displayName = "Jörg's |22VM|22 |7C|0A2"
scsi0:0.present = "TRUE"
numvcpus = "2"
memSize = "2048"
guestOS = "debian12-64"
guestOS.detailed.data = "x"
`);
  t.equal(vmx.get("DISPLAYNAME"), `Jörg's "VM" |\n2`);
  t.equal(vmx.flag("SCSI0:0.Present"), true);
  t.equal(vmx.flag("scsi0:1.present"), undefined);
  t.equal(vmx.count("numvcpus"), 2);
  t.equal(vmx.count("memsize"), 2048);
  t.equal(vmx.get("guestOS"), "debian12-64", "a key and a name space below it are two things");
  t.ok([...vmx.keys()].includes("scsi0:0.present"));
  t.end();
});

void t.test("Vmx reads what others write", (t) => {
  const vmx = parse(
    '\ufeff.encoding="UTF-8"\r\n  a.b=TRUE\r\n\tc = "x = "y" z"  \r\n# d = "1"\r\nno entry\r\n= "2"\r\ne =\r\n"f" = 3',
  );
  t.equal(vmx.flag("a.b"), true);
  t.equal(vmx.get("c"), 'x = "y" z');
  t.equal(vmx.get("d"), undefined);
  t.equal(vmx.get("e"), "");
  t.equal(vmx.count("c"), undefined);
  t.strictSame([...vmx.keys()], [".encoding", "a.b", "c", "e"]);
  t.end();
});

void t.test("Vmx reads the encoding that the file names", (t) => {
  const latin = Buffer.from('.encoding = "windows-1252"\ndisplayName = "J\xf6rg"\n', "latin1");
  t.equal(parse(latin).get("displayName"), "Jörg");
  // In Shift_JIS the second byte of a character may be a bar: it begins no escape.
  const japanese = Buffer.concat([
    Buffer.from('.encoding = "Shift_JIS"\ndisplayName = "'),
    Buffer.from([0x83, 0x7c]),
    Buffer.from('22"\n'),
  ]);
  t.equal(parse(japanese).get("displayName"), "ポ22");
  t.equal(parse('.encoding = "klingon"\na = "1"\n').get("a"), "1");
  t.end();
});

void t.test("Vmx refuses to choose between two values of a key", (t) => {
  const vmx = parse('scsi0:0.fileName = "a.vmdk"\nSCSI0:0.filename = "b.vmdk"\nc = "1"\nC = "1"\n');
  t.throws(() => vmx.get("scsi0:0.fileName"), { name: "IntegrityError", message: /stands in it twice/ });
  t.equal(vmx.get("c"), "1", "the same twice is no contradiction");
  t.end();
});

void t.test("Vmx is bounded", (t) => {
  t.throws(() => parse(new Uint8Array(VMX_BYTES_MAX + 1)), { name: "IntegrityError" });
  const many = Array.from({ length: 20_000 }, (_, i) => `k${i} = "1"`).join("\n");
  t.throws(() => parse(many), { name: "IntegrityError", message: /more than 16384 entries/ });
  t.end();
});

void t.test("Vmx takes any bytes", async (t) => {
  const pieces = fc.array(
    fc.constantFrom("a", '"', "=", "|", "22", "|2", "\n", "\r", "#", " ", ".encoding", "\0", "é", "scsi0:0"),
    {
      maxLength: 60,
    },
  );
  const garbage = fc.oneof(
    fc.uint8Array({ maxLength: 500 }),
    pieces.map((parts) => Buffer.from(parts.join(""))),
  );
  const property = fc.asyncProperty(garbage, (content) => {
    const vmx = parse(content);
    for (const key of vmx.keys()) if (key !== key.toLowerCase() || key === "") return Promise.reject(new Error(key));
    return Promise.resolve();
  });
  await holds(t, property, { runs: 1000 });
});

void t.test("uuidOfHexBytes() reads VMware's spelling", (t) => {
  t.equal(uuidOfHexBytes("56 4d 12 34 56 78 9a bc-DE f0 12 34 56 78 9a bc"), "564d1234-5678-9abc-def0-123456789abc");
  for (const bad of [undefined, "", "56 4d", "x".repeat(32)]) t.equal(uuidOfHexBytes(bad), undefined);
  t.end();
});
