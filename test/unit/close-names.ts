import t from "tap";
import { closeNames } from "../../src/close-names.js";

void t.test("closeNames() finds what was meant, best first", (t) => {
  const names = ["web01", "web02", "db01", "WEB01-old", "mail", "a", ""];
  t.strictSame(closeNames("web03", names), ["web01", "web02"]);
  t.strictSame(closeNames("wbe01", names)[0], "web01", "two swapped letters are one mistake");
  t.strictSame(closeNames("WEB01", names)[0], "web01", "case does not count");
  t.strictSame(closeNames("web01", names, 1), ["web01"]);
  t.strictSame(closeNames("my-mail-server", names), ["mail"], "contains it");
  t.strictSame(closeNames("old", names), ["WEB01-old"], "is contained");
  t.end();
});

void t.test("closeNames() suggests nothing that has nothing in common", (t) => {
  t.strictSame(closeNames("x", ["a", "y", ""]), []);
  t.strictSame(closeNames("database", ["a", "at", "se"]), [], "short names are part of nearly everything");
  t.strictSame(closeNames("zzzzzz", ["web01", "db01"]), []);
  t.strictSame(closeNames("", ["a", "b"]), []);
  t.end();
});

void t.test("closeNames() is bounded, and says each name once", (t) => {
  const long = "x".repeat(100_000);
  t.strictSame(closeNames(long, [long, `${long}y`]), [long, `${long}y`]);
  t.strictSame(closeNames("web", ["web1", "web1"]), ["web1"]);
  t.equal(closeNames("web", ["web1", "web2", "web3", "web4", "web5", "web6"]).length, 5);
  t.end();
});
