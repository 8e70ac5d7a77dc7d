import t from "tap";
import { type Catalog, formatCatalog, parseCatalog } from "../../src/catalog.js";
import { IntegrityError } from "../../src/errors.js";
import { catalogOf } from "../../src/fs/vm-catalog.js";
import { contents } from "../fixtures/vm/contents.js";

const CATALOG: Catalog = catalogOf(contents());

void t.test("parseCatalog() reads what formatCatalog() writes", (t) => {
  t.strictSame(parseCatalog(formatCatalog(CATALOG)), CATALOG);
  t.match(formatCatalog(CATALOG), /^\{\n {2}"version": 1,/);
  t.end();
});

void t.test("parseCatalog() drops keys it does not know", (t) => {
  t.strictSame(parseCatalog(JSON.stringify({ ...CATALOG, later: 1 })), CATALOG);
  t.end();
});

void t.test("parseCatalog() refuses what is no catalog, and says why", (t) => {
  const cases: [string, RegExp][] = [
    ["{", /it is not JSON/],
    ["null", /states no version/],
    ["{}", /states no version/],
    ['{"version":"1"}', /states no version/],
    ['{"version":1}', /Cannot use catalog\.json: .*writtenBy/],
    [JSON.stringify({ ...CATALOG, snapshot: { ...CATALOG.snapshot, createdAt: "yesterday" } }), /createdAt/],
    [JSON.stringify({ ...CATALOG, disks: [{ ...CATALOG.disks[0], capacityBytes: -1 }] }), /capacityBytes/],
    [JSON.stringify({ ...CATALOG, disks: [{ ...CATALOG.disks[0], included: "yes" }] }), /included/],
    [" ".repeat(16 * 1024 * 1024 + 1), /the limit is/],
  ];
  for (const [json, message] of cases) {
    t.throws(() => parseCatalog(json), IntegrityError);
    t.throws(() => parseCatalog(json), { message });
  }
  t.end();
});

void t.test("parseCatalog() tells a newer version from an older one", (t) => {
  t.throws(() => parseCatalog('{"version":2}'), { message: /version 2/, hint: /newer vmmount/ });
  t.throws(() => parseCatalog('{"version":0}'), { message: /version 0/, hint: undefined });
  t.end();
});
