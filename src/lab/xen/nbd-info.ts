import { XapiFault } from "./fault.js";
import { isList, textOf, type Value } from "./value.js";
import type { XenPool } from "./xen-pool.js";

/**
 * Where a disk can be read by NBD: one record for each address, in NBD's networks, of each host that sees the disk.
 * @throws XapiFault VDI_INCOMPATIBLE_TYPE
 */
export function nbdInfo(pool: XenPool, vdi: string, session: string): Value {
  const { database } = pool;
  const row = database.row("VDI", vdi);
  if (row["type"] === "cbt_metadata") throw new XapiFault("VDI_INCOMPATIBLE_TYPE", vdi, "cbt_metadata");
  const sr = textOf(row["SR"]);
  return pool.hosts
    .filter((host) => host.isRunning && host.nbdPort !== undefined && pool.attachments.sees(host, sr))
    .flatMap((host) =>
      database
        .rows("PIF")
        .filter(([, pif]) => pif["host"] === host.ref && pif["currently_attached"] === true && textOf(pif["IP"]) !== "")
        .filter(([, pif]) => hasNbd(database.row("network", textOf(pif["network"]))["purpose"] ?? []))
        .map(([, pif]) => ({
          exportname: `/${textOf(row["uuid"])}?session_id=${session}`,
          address: textOf(pif["IP"]),
          port: host.nbdPort ?? 0,
          cert: host.tls.certificate,
          subject: host.dnsName,
        })),
    );
}

function hasNbd(purpose: Value): boolean {
  return isList(purpose) && (purpose.includes("nbd") || purpose.includes("insecure_nbd"));
}
