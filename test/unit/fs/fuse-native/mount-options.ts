import t from "tap";
import { UsageError } from "../../../../src/errors.js";
import { libfuseOptions } from "../../../../src/fs/fuse-native/mount-options.js";

void t.test("a source is one option, whatever it holds", (t) => {
  const text = libfuseOptions({ source: "a,allow_other\\,b", allowOther: false });
  t.match(text, /^-oro,nosuid,nodev,noexec,default_permissions,fsname=/);
  t.ok(text.includes("fsname=a\\,allow_other\\\\\\,b,subtype=vmmount,"), text);
  t.match(libfuseOptions({ source: "a", allowOther: true }), /,fsname=a,subtype=vmmount,allow_other,use_ino,/);
  t.end();
});

void t.test("options that the package would cut off are refused", (t) => {
  t.throws(() => libfuseOptions({ source: "ü".repeat(500), allowOther: false }), UsageError);
  t.ok(Buffer.byteLength(libfuseOptions({ source: "ü".repeat(350), allowOther: true })) <= 1023);
  t.end();
});
