import t from "tap";
import { sortedByPath } from "../../src/path-order.js";

void t.test("by path, whatever the locale, and equal paths as they came", (t) => {
  const entries = ["b", "ä", "a/b", "B", "a", "b", "10", "9"].map((path, index) => ({ path, index }));
  t.strictSame(
    sortedByPath(entries).map(({ path, index }) => `${path} ${index}`),
    ["10 6", "9 7", "B 3", "a 4", "a/b 2", "b 0", "b 5", "ä 1"],
  );
  t.equal(entries[0]?.path, "b", "the list given stays as it is");
  t.end();
});
