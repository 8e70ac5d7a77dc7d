import t from "tap";
import { answer, paint, size, table } from "../../../src/cli/output.js";

void t.test("answer() is one JSON object or one text, each with one newline at the end", (t) => {
  let out = "";
  const terminal = { out: (text: string) => (out += text), err: () => undefined, isInteractive: false };
  answer({ ...terminal, json: true }, { a: "é\n" }, () => t.fail("not asked for") as never);
  answer({ ...terminal, json: false }, {}, () => "text\n\n");
  answer({ ...terminal, json: false }, {}, () => "");
  t.equal(out, '{"a":"é\\n"}\ntext\n\n');
  t.end();
});

void t.test("table() lines columns up, without borders or trailing blanks", (t) => {
  t.equal(
    table(
      ["NAME", "SIZE"],
      [
        ["a", "1 MiB"],
        ["longer", ""],
        ["日本", "2"],
      ],
    ),
    "NAME    SIZE\na       1 MiB\nlonger\n日本    2",
  );
  t.equal(table(["A", "B"], []), "A  B");
  t.end();
});

void t.test("table() shows control characters instead of obeying them", (t) => {
  const drawn = table(["NAME"], [["a\u001b[31m\nb\r"]]);
  t.equal(drawn, "NAME\na\\u001b[31m\\u000ab\\u000d");
  t.end();
});

void t.test("paint() colours on a terminal only; size() speaks binary", (t) => {
  t.equal(paint({ isInteractive: true }, "red", "x"), "\u001b[31mx\u001b[0m");
  t.equal(paint({ isInteractive: true }, "yellow", "x"), "\u001b[33mx\u001b[0m");
  t.equal(paint({ isInteractive: false }, "red", "x"), "x");
  t.equal(size(8 * 1024 ** 3), "8 GiB");
  t.equal(size(0), "0 B");
  t.end();
});
