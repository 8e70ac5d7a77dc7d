import t from "tap";
import { ConfigError } from "../../../src/errors.js";
import { VmxFile } from "../../../src/lab/vmx.js";

const TEXT = `#!/usr/bin/vmware
.encoding = "UTF-8"\r
displayName = "J\u00f6rg |22x|22 50%25"
scsi0:0.fileName = "a b.vmdk"
# scsi0:0.present = "FALSE"
scsi0:0.present = "true"
numvcpus = 4
`;

await t.test("reads values with escapes, without case, past comments", (t) => {
  const vmx = VmxFile.parse(TEXT);
  t.equal(vmx.get("DISPLAYNAME"), `J\u00f6rg "x" 50%25`);
  t.equal(vmx.get("scsi0:0.filename"), "a b.vmdk");
  t.equal(vmx.flag("scsi0:0.present"), true);
  t.equal(vmx.flag("absent"), false);
  t.equal(vmx.integer("numvcpus"), 4);
  t.equal(vmx.integer("absent"), undefined);
  t.throws(() => vmx.integer("displayname"), ConfigError);
  t.strictSame(vmx.keys(), [".encoding", "displayname", "scsi0:0.filename", "scsi0:0.present", "numvcpus"]);
  t.end();
});

await t.test("a rewrite keeps comments and order, and escapes", (t) => {
  const vmx = VmxFile.parse(TEXT);
  vmx.set("scsi0:0.FILENAME", `x "y" |.vmdk`);
  vmx.set("new.key", "1");
  const lines = vmx.format().split("\n");
  t.equal(lines[3], `scsi0:0.FILENAME = "x |22y|22 |7C.vmdk"`);
  t.equal(lines[4], `# scsi0:0.present = "FALSE"`);
  t.equal(lines[7], `new.key = "1"`);
  t.equal(VmxFile.parse(vmx.format()).get("scsi0:0.filename"), `x "y" |.vmdk`);
  t.end();
});
