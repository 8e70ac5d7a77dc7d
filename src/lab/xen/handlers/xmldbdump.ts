import { dumpDatabase, type ReadDump, readDump } from "../archive/database-dump.js";
import { EndOfStream } from "../archive/byte-reader.js";
import { XapiFault } from "../fault.js";
import type { HandlerCall } from "../http-handlers.js";
import { isMap, textOf } from "../value.js";
import { isAsked } from "./asked-objects.js";
import { refuse } from "./refuse.js";
import { beginUpload } from "./upload.js";

/** Dumps of real pools are tens of MB. */
const DUMP_BYTES_MAX = 256 * 1024 * 1024;

/** What a pool gives out while its hosts are upgraded one after the other. */
const DUMMY_DUMP =
  '<database><manifest><pair key="schema_major_vsn" value="5"/><pair key="schema_minor_vsn" value="35"/><pair key="generation_count" value="1"/></manifest><table name="pool"/></database>';

/** GET /pool/xmldbdump: the database of the pool, until the connection ends. */
export async function sendDump(call: HandlerCall): Promise<string> {
  assertMaster(call);
  await call.answer.begin("HTTP/1.1 200 OK", [
    ["Connection", "close"],
    ["Cache-Control", "no-cache, no-store"],
    ["task-id", call.task.ref],
  ]);
  const { database, poolRef } = call.pool;
  const { other_config: other = "" } = database.row("pool", poolRef);
  const isUpgraded = isMap(other) && Object.hasOwn(other, "rolling_upgrade_in_progress");
  await call.answer.write(Buffer.from(isUpgraded ? DUMMY_DUMP : dumpDatabase(database)));
  call.answer.end();
  return "";
}

/** PUT /pool/xmldbdump: checks a dump. A restore ends with a reboot of the host, which the lab does not have. */
export async function restoreDump(call: HandlerCall): Promise<string> {
  assertMaster(call);
  const { request, pool } = call;
  const length = Number(request.headers["content-length"]);
  if (!Number.isSafeInteger(length) || length > DUMP_BYTES_MAX) {
    await refuse(call, "HTTP/1.1 400 Bad Request");
    throw new XapiFault("INTERNAL_ERROR", 'Failure("a content-length is needed")');
  }
  const body = await beginUpload(call, {
    codedStatus: "HTTP/1.1 400 Bad Request",
    codedFault: new XapiFault("INTERNAL_ERROR", 'Failure("a content-length is needed")'),
  });
  const parts: Buffer[] = [];
  for await (const chunk of body) parts.push(chunk);
  const bytes = Buffer.concat(parts);
  if (bytes.length < length) throw new EndOfStream(length - bytes.length);
  const dump = readDump(bytes.toString("utf8"));
  const [major, minor] = ["schema_major_vsn", "schema_minor_vsn"].map((key) => Number(dump.manifest.get(key)));
  if (major !== pool.profile.schema[0] || minor !== pool.profile.schema[1]) {
    throw new XapiFault("RESTORE_INCOMPATIBLE_VERSION");
  }
  assertSameDevices(call, dump);
  if (!isAsked(call, "dry_run")) throw new XapiFault("NOT_IMPLEMENTED", "pool.restore_database");
  call.answer.end();
  return "";
}

function assertMaster({ pool, host }: HandlerCall): void {
  if (pool.master !== host) throw new XapiFault("HOST_IS_SLAVE", pool.master.address);
}

/** The network cards of the dumped master are looked for on this host, by name. */
function assertSameDevices({ pool: { database }, host }: HandlerCall, { tables }: ReadDump): void {
  const master = tables.get("pool")?.[0]?.get("master");
  const dumped = (tables.get("PIF") ?? []).filter(
    (row) => row.get("host") === master && row.get("physical") === "true",
  );
  const devices = new Set(dumped.map((row) => row.get("device") ?? ""));
  const own = database
    .where("PIF", "host", host.ref)
    .map((pif) => database.row("PIF", pif))
    .filter((row) => row["physical"] === true);
  const missing = [...devices].find((device) => !own.some((row) => row["device"] === device));
  if (missing !== undefined) throw new XapiFault("RESTORE_TARGET_MISSING_DEVICE", missing);
  const unknown = own.filter((row) => row["management"] === true && !devices.has(textOf(row["device"])));
  if (unknown.length > 0) {
    const names = unknown.map((row) => textOf(row["device"])).join(", ");
    throw new XapiFault("RESTORE_TARGET_MGMT_IF_NOT_IN_BACKUP", names);
  }
}
