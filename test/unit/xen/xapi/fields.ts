import t from "tap";
import { IntegrityError } from "../../../../src/errors.js";
import { date, integer, isSet, list, map, reference, references, size, text } from "../../../../src/xen/xapi/fields.js";
import { isAtLeast, toVersion } from "../../../../src/xen/xapi/pool-facts.js";

void t.test("fields that are missing or of another kind read as empty", (t) => {
  const record = {
    name: "n",
    flag: true,
    none: "OpaqueRef:NULL",
    ref: "OpaqueRef:1",
    refs: ["OpaqueRef:1", "OpaqueRef:NULL"],
    tags: { a: "b", c: ["d"] },
    count: "12",
    minus: "-1",
    word: "many",
    when: "20240131T10:20:30Z",
  };
  t.equal(text(record, "name"), "n");
  t.equal(text(record, "flag"), "");
  t.equal(text(record, "missing"), "");
  t.equal(isSet(record, "flag"), true);
  t.equal(isSet(record, "name"), false);
  t.equal(reference(record, "none"), undefined);
  t.equal(reference(record, "ref"), "OpaqueRef:1");
  t.strictSame(references(record, "refs"), ["OpaqueRef:1"]);
  t.strictSame(list(record, "name"), []);
  t.strictSame([...map(record, "tags")], [["a", "b"]]);
  t.equal(integer(record, "count"), 12);
  t.equal(integer(record, "minus"), undefined);
  t.equal(integer(record, "word"), undefined);
  t.equal(size(record, "count"), 12);
  t.throws(() => size(record, "minus"), IntegrityError);
  t.equal(date(record, "when").toISOString(), "2024-01-31T10:20:30.000Z");
  t.equal(date({ when: "2024-01-31T10:20:30Z" }, "when").toISOString(), "2024-01-31T10:20:30.000Z");
  t.equal(date(record, "word").getTime(), 0);
  t.equal(date({ when: "20249931T10:20:30Z" }, "when").getTime(), 0);
  t.end();
});

void t.test("versions of xapi", (t) => {
  t.strictSame(toVersion("1.20"), { major: 1, minor: 20 });
  t.strictSame(toVersion("24.39.1"), { major: 24, minor: 39 });
  t.strictSame(toVersion(""), { major: 0, minor: 0 });
  t.ok(isAtLeast({ major: 24, minor: 0 }, 21, 4));
  t.ok(isAtLeast({ major: 21, minor: 4 }, 21, 4));
  t.notOk(isAtLeast({ major: 21, minor: 3 }, 21, 4));
  t.notOk(isAtLeast({ major: 1, minor: 20 }, 21, 4));
  t.end();
});
