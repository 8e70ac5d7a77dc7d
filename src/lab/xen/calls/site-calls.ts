import { randomUUID } from "node:crypto";
import { XapiFault } from "../fault.js";
import { method, type Method } from "../rpc/method.js";
import { isList } from "../value.js";

/** Calls on hosts, storage and networks. */
export const SITE_CALLS: readonly Method[] = [
  method(
    "host.get_server_certificate",
    { role: "pool-operator", takes: "host:host" },
    ({ pool, args }) => pool.host(args.text("host")).tls.certificate,
  ),
  // Everybody may read it since 7.3.
  method(
    "host.get_server_certificate",
    { role: "read-only", takes: "host:host", since: "8.2" },
    ({ pool, args }) => pool.host(args.text("host")).tls.certificate,
  ),
  method("host.get_servertime", { role: "read-only", takes: "host:host" }, ({ pool }) => {
    return new Date(Date.now() + pool.rules.settings.clockSkewMs);
  }),
  method(
    "message.get",
    { role: "read-only", isAsync: false, takes: "cls obj_uuid since:date" },
    ({ pool: { database }, args }) => {
      const since = args.value("since");
      const wanted = database.rows("message").filter(([, row]) => {
        const isNew = row["timestamp"] instanceof Date && since instanceof Date && row["timestamp"] >= since;
        return row["cls"] === args.text("cls") && row["obj_uuid"] === args.text("obj_uuid") && isNew;
      });
      return Object.fromEntries(wanted.map(([ref]) => [ref, database.record("message", ref)]));
    },
  ),
  method("host.enable", { role: "pool-operator", takes: "host:host" }, ({ pool, args }) => {
    pool.database.update("host", args.text("host"), { enabled: true });
    return "";
  }),
  method("host.disable", { role: "pool-operator", takes: "host:host" }, ({ pool, args }) => {
    pool.database.update("host", args.text("host"), { enabled: false });
    return "";
  }),
  method("SR.scan", { role: "vm-power-admin", takes: "sr:SR" }, ({ pool, args }) => {
    pool.database.touch("SR", args.text("sr"));
    return "";
  }),
  method("SR.update", { role: "pool-operator", takes: "sr:SR" }, ({ pool, args }) => {
    pool.database.touch("SR", args.text("sr"));
    return "";
  }),
  method("network.create", { role: "vm-admin", takes: "record:record" }, ({ pool, args }) => {
    const record = args.map("record");
    const [name, bridge] = [record["name_label"], record["bridge"]];
    return pool.database.create("network", {
      uuid: randomUUID(),
      name_label: typeof name === "string" ? name : "",
      bridge: typeof bridge === "string" && bridge !== "" ? bridge : `xapi${pool.database.refs("network").length}`,
    });
  }),
  method("network.destroy", { role: "vm-admin", takes: "self:network" }, ({ pool: { database }, args }) => {
    const network = args.text("self");
    const [vif] = database.where("VIF", "network", network);
    if (vif !== undefined) throw new XapiFault("NETWORK_CONTAINS_VIF", vif);
    const [pif] = database.where("PIF", "network", network);
    if (pif !== undefined) throw new XapiFault("NETWORK_CONTAINS_PIF", pif);
    database.delete("network", network);
    return "";
  }),
  method("network.add_purpose", { role: "pool-admin", takes: "self:network value", since: "8.2" }, ({ pool, args }) => {
    const { database } = pool;
    const wanted = args.text("value");
    if (!["nbd", "insecure_nbd"].includes(wanted)) throw new XapiFault("INVALID_VALUE", "purpose", wanted);
    // Networks with and without TLS do not go together in one pool.
    for (const [, row] of database.rows("network")) {
      const purposes = row["purpose"] ?? [];
      const other = wanted === "nbd" ? "insecure_nbd" : "nbd";
      if (isList(purposes) && purposes.includes(other)) {
        throw new XapiFault("NETWORK_INCOMPATIBLE_PURPOSES", wanted, other);
      }
    }
    const now = database.row("network", args.text("self"))["purpose"] ?? [];
    const purpose = [...new Set([...(isList(now) ? now : []), wanted])];
    database.update("network", args.text("self"), { purpose });
    return "";
  }),
  method("network.remove_purpose", { role: "pool-admin", takes: "self:network value", since: "8.2" }, (call) => {
    const { pool, args } = call;
    const now = pool.database.row("network", args.text("self"))["purpose"] ?? [];
    const purpose = (isList(now) ? now : []).filter((one) => one !== args.text("value"));
    pool.database.update("network", args.text("self"), { purpose });
    return "";
  }),
];
