import t from "tap";
import { optionWords } from "../../../../src/fs/fuse/option-words.js";

void t.test("the options of a mount, as libfuse's programs take them", (t) => {
  const fixed = ["ro", "nosuid", "nodev", "noexec", "default_permissions"];
  const source = "vmmount:k3v9";
  const named = [...fixed, "fsname=vmmount:k3v9", "subtype=vmmount"];
  t.strictSame(optionWords({ source, allowOther: false }), named);
  t.strictSame(optionWords({ source, allowOther: true }), [...named, "allow_other"]);
  t.strictSame(
    optionWords({ source: "a,suid\\b", allowOther: false }),
    [...fixed, "fsname=a\\,suid\\\\b", "subtype=vmmount"],
    "no option hides in a name",
  );
  t.end();
});
