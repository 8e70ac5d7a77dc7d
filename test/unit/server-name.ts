import t from "tap";
import { LOCATOR_FORMS, parseLocator } from "../../src/locator.js";
import { serverNameMistake } from "../../src/server-name.js";

void t.test("a server has a plain name, and none that means something else before a colon", (t) => {
  for (const name of ["vc1", "VC-2_x.example.org", "names", "1"]) t.equal(serverNameMistake(name), undefined, name);
  for (const name of ["", "a b", "a:b", "-a", "ä"]) t.match(serverNameMistake(name), /letters, digits/, name);
  for (const word of [...Object.keys(LOCATOR_FORMS), "Name", "https", "xen", "dir"]) {
    t.match(serverNameMistake(word), /means something else/, word);
  }
  const asked = parseLocator("name:web01", new Set(["name"])).server;
  t.equal(asked, "name", "why: a VM's name would be sought on that server");
  t.end();
});
