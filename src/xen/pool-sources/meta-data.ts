import { setTimeout as delay } from "node:timers/promises";
import { errorChain, IntegrityError, unwrapAbort } from "../../errors.js";
import type { TaskOptions } from "../../hypervisor.js";
import type { Logger } from "../../log.js";
import { bytes, MIB } from "../../units.js";
import { HELD } from "../held.js";
import { isVm } from "../inventory.js";
import { SpoolFile } from "../spool/spool-file.js";
import { XapiFault } from "../xapi/fault.js";
import { translateFault } from "../xapi/fault-errors.js";
import { text } from "../xapi/fields.js";
import { recordsOf } from "../xapi/pool-facts.js";
import type { XapiRecord } from "../xapi/value.js";
import type { Xapi, XenHost } from "../xapi/xapi.js";
import { checkDump, DUMP_HEAD_BYTES } from "./database-dump.js";
import { fetchInto } from "./fetch.js";
import type { PoolFile, PoolFiles } from "./pool-file.js";

/** Databases of big pools have tens of MiB; the records of a VM some hundred KiB. */
const NEEDED_BYTES = 256 * MIB;
/** What `xe vm-import metadata=true` takes: a tar of ova.xml alone. */
const RECORDS_SUFFIX = ".vmmeta";
const FOLDER = "vm-metadata";
/** A VM of which a snapshot is made, or that starts at this moment, does not tell its records: it is asked for a minute. */
const BUSY_ATTEMPTS_MAX = 12;
const BUSY_PAUSE_MS = 5_000;
const UUID = /^[0-9a-f-]{36}$/i;

export interface PoolSourceOptions extends TaskOptions {
  readonly spoolDirectory: string;
  readonly logger: Logger;
}

/**
 * The pool's database as `xe pool-dump-database` gives it, and the records of every VM with its snapshots. Both hold
 * secrets: passwords of storage, keys of pools and of virtual TPMs.
 * @throws XapiFault, IntegrityError for a dump that is none, VmmountError "space"
 */
export async function fetchMetaData(xapi: Xapi, options: PoolSourceOptions): Promise<PoolFiles> {
  const { signal, onProgress } = options;
  const [master] = await xapi.hosts({ signal });
  if (master === undefined) throw new IntegrityError("Cannot read the pool: it shows no host");
  const spool = await SpoolFile.create(options.spoolDirectory, NEEDED_BYTES);
  try {
    const files = [await fetchDatabase(spool, master, xapi, options)];
    const vms = [...(await recordsOf(xapi.call.bind(xapi), "VM", { signal })).values()].filter(isVm);
    const inOrder = vms
      .filter((vm) => UUID.test(text(vm, "uuid")))
      .sort((a, b) => (text(a, "uuid") < text(b, "uuid") ? -1 : 1));
    for (const [index, vm] of inOrder.entries()) {
      onProgress?.({ what: "Reading the records of VMs", percent: Math.floor((index / inOrder.length) * 100) });
      const file = await fetchRecords(spool, { vm, master }, xapi, options);
      if (file !== undefined) files.push(file);
    }
    await spool.finish();
    return { files, [Symbol.asyncDispose]: () => spool[Symbol.asyncDispose]() };
  } catch (error) {
    await spool[Symbol.asyncDispose]();
    throw error;
  }
}

async function fetchDatabase(
  spool: SpoolFile,
  master: XenHost,
  xapi: Xapi,
  options: PoolSourceOptions,
): Promise<PoolFile> {
  const { signal } = options;
  const what = "Reading the pool's database";
  const fetched = await fetchInto(spool, { host: master, path: "/pool/xmldbdump", query: {} }, xapi, {
    ...options,
    what,
  });
  const source = spool.part(fetched.offset, fetched.length);
  const ends = Math.min(DUMP_HEAD_BYTES, source.size);
  const [head, tail] = [Buffer.alloc(ends), Buffer.alloc(ends)];
  await source.read(head, bytes(0), { signal });
  await source.read(tail, bytes(source.size - ends), { signal });
  checkDump({ head: head.toString(), tail: tail.toString(), size: source.size });
  return { path: "pool-database.xml", about: "database of the pool", source, sha256: fetched.sha256 };
}

/** @returns undefined for a VM that was deleted meanwhile @throws VmmountError that names the VM */
async function fetchRecords(
  spool: SpoolFile,
  { vm, master }: { readonly vm: XapiRecord; readonly master: XenHost },
  xapi: Xapi,
  options: PoolSourceOptions,
): Promise<PoolFile | undefined> {
  const uuid = text(vm, "uuid");
  const query = { uuid, export_snapshots: "true" };
  const what = `Reading the records of "${text(vm, "name_label")}"`;
  const name = text(vm, "name_label");
  for (let attempt = 1; ; attempt++) {
    try {
      const from = { host: master, path: "/export_metadata", query };
      const { offset, length, sha256 } = await fetchInto(spool, from, xapi, { ...options, what });
      const path = `${FOLDER}/${uuid}${RECORDS_SUFFIX}`;
      return { path, about: `records of VM "${name}"`, source: spool.part(offset, length), sha256 };
    } catch (error) {
      if (!(error instanceof XapiFault)) throw error;
      if (error.is("HANDLE_INVALID", "UUID_INVALID")) {
        options.logger.warn(`VM "${name}" (${uuid}) was deleted meanwhile: ${errorChain(error)}`);
        return undefined;
      }
      if (!error.is(...HELD) || attempt >= BUSY_ATTEMPTS_MAX) {
        throw translateFault(error, `Cannot read the records of VM "${name}" (${uuid})`);
      }
      options.logger.info(`VM "${name}" is in the middle of something, asking for its records again soon`);
      await delay(BUSY_PAUSE_MS, undefined, { signal: options.signal }).catch((aborted: unknown) => {
        throw unwrapAbort(aborted);
      });
    }
  }
}
