import t from "tap";
import { refuseNewer } from "../../../src/xen/import/version-gate.js";

void t.test("a pool takes what its own version or an older one wrote", (t) => {
  const pair = (text: string): { major: number; minor: number } => {
    const [major = 0, minor = 0] = text.split(".").map(Number);
    return { major, minor };
  };
  const takes = (archive: string, pool: string): boolean => {
    try {
      refuseNewer(pair(archive), { xapi: pair(pool), product: "pool" });
      return true;
    } catch (error) {
      t.match(error, { name: "MissingCapabilityError", message: /written for xapi/, hint: /newer pool/ });
      return false;
    }
  };
  t.strictSame(
    [
      takes("1.20", "1.20"),
      takes("1.9", "1.20"),
      takes("1.20", "24.39"),
      takes("24.39", "24.39"),
      takes("24.3", "25.1"),
    ],
    [true, true, true, true, true],
  );
  t.strictSame(
    [
      takes("24.39", "1.20"),
      takes("1.21", "1.20"),
      takes("0.5", "1.20"),
      takes("25.1", "24.39"),
      takes("24.40", "24.39"),
    ],
    [false, false, false, false, false],
  );
  t.end();
});
