import { IntegrityError, MissingCapabilityError } from "../../errors.js";
import type { CallOptions } from "../../hypervisor.js";
import type { NbdTarget } from "../../nbd/address.js";
import { printable } from "../../printable.js";
import { isRecord, type XapiValue } from "../xapi/value.js";
import type { DiskScope, XenVdi } from "./xen-vdi.js";

/** A pool has at most 64 hosts, each with some addresses. */
const PLACES_MAX = 512;

/**
 * Where a disk is served over NBD now: by every host that reaches its storage, on each of its networks that are meant for it.
 * The names of the exports hold the session, so they are asked for anew when it has changed. Whether a connection is in TLS
 * is decided by the purpose of the networks; a certificate is given for both. It is the host's own, learnt from the trusted
 * master, so it must be exactly this one.
 * @throws MissingCapabilityError where no network is meant for NBD; XapiFault
 */
export async function nbdPlaces(vdi: XenVdi, { xapi }: DiskScope, options: CallOptions): Promise<readonly NbdTarget[]> {
  const infos = await xapi.call("VDI.get_nbd_info", [vdi.ref], options);
  if (!Array.isArray(infos) || infos.length > PLACES_MAX)
    throw new IntegrityError("the server's NBD addresses are none");
  if (infos.length === 0) {
    throw new MissingCapabilityError(`Cannot read ${vdi.shown} over NBD: no network of the pool is meant for it`, {
      hint: "Give a network the purpose with: xe network-param-add param-name=purpose param-key=nbd uuid=…",
    });
  }
  const isPlain = await isInsecure(xapi, options);
  return infos.map((info) => target(info as XapiValue, vdi, isPlain));
}

function target(info: XapiValue, vdi: XenVdi, isPlain: boolean): NbdTarget {
  const text = (name: string): string => {
    const value = isRecord(info) ? info[name] : undefined;
    if (typeof value !== "string") throw new IntegrityError(`the server gives an NBD address without ${name}`);
    return value;
  };
  const port = Number(text("port"));
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new IntegrityError(`the server gives "${printable(text("port"))}" as the port of its NBD service`);
  }
  return {
    address: { kind: "tcp", host: text("address"), port },
    exportName: text("exportname"),
    shownName: vdi.uuid,
    tls: isPlain ? undefined : { certificate: text("cert"), serverName: text("subject") },
  };
}

/** A pool does not allow both purposes at once; if it did, the safe one would be taken. */
async function isInsecure(xapi: DiskScope["xapi"], options: CallOptions): Promise<boolean> {
  const networks = await xapi.call("network.get_all_records", [], options);
  const purposes = new Set<XapiValue>();
  for (const network of isRecord(networks) ? Object.values(networks) : []) {
    const purpose = isRecord(network) ? network["purpose"] : undefined;
    for (const one of Array.isArray(purpose) ? (purpose as readonly XapiValue[]) : []) purposes.add(one);
  }
  return purposes.has("insecure_nbd") && !purposes.has("nbd");
}
