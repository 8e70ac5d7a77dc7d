import { AmbiguousError, IntegrityError, NotFoundError, UnreachableError } from "../../errors.js";
import { safeFileName } from "../../safe-file-name.js";
import { bytes, GIB } from "../../units.js";
import { SpoolFile } from "../spool/spool-file.js";
import type { Xapi, XenHost } from "../xapi/xapi.js";
import { fetchInto } from "./fetch.js";
import type { PoolSourceOptions } from "./meta-data.js";
import type { PoolFile, PoolFiles } from "./pool-file.js";

/** Packed, of one host: nobody knows before; its system disk has some GiB, of which most is free. */
const NEEDED_BYTES = 2 * GIB;
/** Less is an empty archive. */
const BACKUP_BYTES_MIN = 1024;

/**
 * The system disk of the hosts, as `xe host-backup` gives it: a packed tar archive, without VMs. Each must be asked of the
 * host itself.
 * @param wanted name or UUID of one host; undefined = every one
 * @throws NotFoundError, AmbiguousError, UnreachableError for a host that is down, IntegrityError, VmmountError "space"
 */
export async function fetchHostBackups(
  xapi: Xapi,
  wanted: string | undefined,
  options: PoolSourceOptions,
): Promise<PoolFiles> {
  const hosts = choose(await xapi.hosts({ signal: options.signal }), wanted);
  const down = hosts.filter(({ isLive }) => !isLive).map(({ name }) => `"${name}"`);
  if (down.length > 0) {
    throw new UnreachableError(`Cannot back up the hosts ${down.join(", ")}: they are down`, {
      hint: "Start them, or name one that is up: SERVER:/host-backup/HOST",
    });
  }
  const spool = await SpoolFile.create(options.spoolDirectory, NEEDED_BYTES * hosts.length);
  try {
    const files: PoolFile[] = [];
    for (const host of hosts) files.push(await fetchOne(spool, host, xapi, options));
    await spool.finish();
    return { files, [Symbol.asyncDispose]: () => spool[Symbol.asyncDispose]() };
  } catch (error) {
    await spool[Symbol.asyncDispose]();
    throw error;
  }
}

function choose(hosts: readonly XenHost[], wanted: string | undefined): readonly XenHost[] {
  if (wanted === undefined) return hosts;
  const found = hosts.filter(({ name, uuid }) => name === wanted || uuid === wanted.toLowerCase());
  if (found.length === 1) return found;
  const names = hosts.map(({ name, uuid }) => `"${name}" (${uuid})`).join(", ");
  if (found.length === 0) {
    throw new NotFoundError(`Cannot back up host "${wanted}": the pool has none of that name`, {
      hint: `It has ${names}`,
    });
  }
  throw new AmbiguousError(`Cannot choose a host: ${found.length} are named "${wanted}"`, {
    hint: `Name it by its UUID: ${names}`,
  });
}

async function fetchOne(spool: SpoolFile, host: XenHost, xapi: Xapi, options: PoolSourceOptions): Promise<PoolFile> {
  const what = `Backing up host "${host.name}"`;
  const { offset, length, sha256 } = await fetchInto(spool, { host, path: "/host_backup", query: {} }, xapi, {
    ...options,
    what,
  });
  const source = spool.part(offset, length);
  const magic = Buffer.alloc(Math.min(2, length));
  await source.read(magic, bytes(0), { signal: options.signal });
  if (length < BACKUP_BYTES_MIN || magic.readUInt16BE(0) !== 0x1f8b) {
    throw new IntegrityError(
      `Cannot use the backup of host "${host.name}": ${length} bytes that are no packed archive`,
    );
  }
  // Two hosts may have one name.
  const path = safeFileName(`${host.name}-${host.uuid.slice(0, 8)}.tar.gz`);
  return { path, about: `system disk of host "${host.name}" (${host.uuid})`, source, sha256 };
}
