import { MissingCapabilityError } from "../../errors.js";
import type { XapiVersion } from "../xapi/xapi.js";

/**
 * A host refuses archives of newer ones, whatever is in them: up to 8.2 (xapi 1.x) those with another first number or a
 * greater second one, later those with a greater pair (xen-api ocaml/xapi/importexport.ml, assert_compatible).
 * @throws MissingCapabilityError
 */
export function refuseNewer(
  archive: XapiVersion,
  pool: { readonly xapi: XapiVersion; readonly product: string },
): void {
  const { xapi } = pool;
  const isTaken =
    xapi.major <= 1
      ? archive.major === xapi.major && archive.minor <= xapi.minor
      : archive.major < xapi.major || (archive.major === xapi.major && archive.minor <= xapi.minor);
  if (isTaken) return;
  throw new MissingCapabilityError(
    `Cannot import into ${pool.product}: the archive was written for xapi ${archive.major}.${archive.minor}, and the pool has ${xapi.major}.${xapi.minor}`,
    {
      hint: "A pool takes archives of its own version and of older ones: restore into a newer pool, or from a backup that has ova.xml and the raw disks, which fits any",
    },
  );
}
