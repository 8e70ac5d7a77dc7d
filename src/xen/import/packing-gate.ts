import { MissingCapabilityError } from "../../errors.js";
import type { CallOptions } from "../../hypervisor.js";
import { integer, toRecord } from "../xapi/fields.js";
import { isAtLeast } from "../xapi/pool-facts.js";
import type { Xapi } from "../xapi/xapi.js";
import type { ArchiveKind } from "../xva/identify.js";

/** Whether, and with what, a whole archive is packed. */
export type Packing = Exclude<ArchiveKind, "other">;

/** API of release 8.1, the first that writes and reads zstd; xapi itself calls itself 1.20 from 7.3 to 8.2. */
const ZSTD_API = { major: 2, minor: 14 };

/**
 * A host that does not know zstd takes such an archive for one of gzip, and finds out when it has unpacked nothing of it.
 * @throws MissingCapabilityError, XapiFault
 */
export async function refuseUnknownPacking(
  packing: Packing,
  xapi: Pick<Xapi, "call" | "facts" | "hosts">,
  options: CallOptions,
): Promise<void> {
  if (packing !== "zstd") return;
  // The master is the first.
  const [master] = await xapi.hosts(options);
  const record = toRecord(await xapi.call("host.get_record", [master?.ref ?? ""], options), "the pool's master");
  const [major = 0, minor = 0] = ["API_version_major", "API_version_minor"].map((name) => integer(record, name));
  if (isAtLeast({ major, minor }, ZSTD_API.major, ZSTD_API.minor)) return;
  throw new MissingCapabilityError(
    `Cannot import into ${xapi.facts.product}: the archive is packed with zstd, which pools know from release 8.1 on`,
    { hint: "Unpack it first: zstd -d ARCHIVE -o NAME.xva" },
  );
}
