import t from "tap";
import { printable } from "../../src/printable.js";

void t.test("printable() shows what would take over a terminal or forge a line", (t) => {
  t.equal(printable("web-ä 01 日本 🙂"), "web-ä 01 日本 🙂");
  t.equal(printable("a\u001b[31mb\nvmmount: ok\r"), "a\\u001b[31mb\\u000avmmount: ok\\u000d");
  const bad = ["\u0000", "\u007f", "\u0085", "\u009b", "\u2028", "\u2029", "\u202e", "\u2066"];
  for (const char of bad) t.match(printable(char), /^\\u[0-9a-f]{4}$/);
  t.end();
});
