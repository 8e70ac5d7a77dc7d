import { IntegrityError, NotFoundError } from "../errors.js";
import type { CallOptions } from "../hypervisor.js";
import { KIB, MIB } from "../units.js";
import { XapiFault } from "./xapi/fault.js";
import type { Xapi, XenHost } from "./xapi/xapi.js";
import { readTarHeader, TAR_BLOCK_BYTES } from "./xva/tar-header.js";

/** Records of one VM with all its snapshots: some hundred KiB at most. */
const DOCUMENT_BYTES_MAX = 16 * MIB;
/** The header, and what else may come in the same piece. */
const ARCHIVE_BYTES_MAX = DOCUMENT_BYTES_MAX + 64 * KIB;

/**
 * `ova.xml` as the server writes it: the records that an import makes a VM of. For a snapshot it holds the snapshot's
 * records under its own UUID, perhaps among those of its VM and of other snapshots.
 * @param at.snapshot reference of the snapshot whose records are needed
 * @throws XapiFault, UnreachableError, IntegrityError
 */
export async function loadOvaDocument(
  at: { readonly vm: string; readonly snapshot: string | undefined },
  xapi: Pick<Xapi, "hosts" | "download">,
  options: CallOptions,
): Promise<Uint8Array> {
  const [master] = await xapi.hosts(options);
  if (master === undefined) throw new NotFoundError("The pool shows no host");
  const load = (query: Record<string, string>): Promise<Uint8Array> => firstMember(master, query, xapi, options);
  if (at.snapshot === undefined) return await load({ ref: at.vm, export_snapshots: "false" });
  try {
    return await load({ ref: at.snapshot, export_snapshots: "false" });
  } catch (error) {
    // Before xapi 24.13 snapshots are told of with their VM only.
    if (!(error instanceof XapiFault && error.is("OPERATION_NOT_ALLOWED", "VM_IS_SNAPSHOT"))) throw error;
  }
  return await load({ ref: at.vm, export_snapshots: "true" });
}

async function firstMember(
  host: XenHost,
  query: Record<string, string>,
  xapi: Pick<Xapi, "download">,
  { signal }: CallOptions,
): Promise<Uint8Array> {
  const what = "Reading the VM's records";
  await using download = await xapi.download(host, "/export_metadata", query, { signal, what });
  let known = Buffer.alloc(0);
  for await (const piece of download.body) {
    known = Buffer.concat([known, piece]);
    const document = memberOf(known);
    if (document !== undefined) return document;
    if (known.length > ARCHIVE_BYTES_MAX) break;
  }
  // It ended early: the task knows why.
  await download.finished();
  throw new IntegrityError(`Cannot read the VM's records on ${host.name}: it holds no ova.xml of a reasonable size`);
}

/** @returns undefined while bytes are missing @throws IntegrityError when something else comes first */
function memberOf(archive: Buffer): Uint8Array | undefined {
  if (archive.length < TAR_BLOCK_BYTES) return undefined;
  const header = readTarHeader(archive.subarray(0, TAR_BLOCK_BYTES));
  if (header?.name !== "ova.xml" || header.size > DOCUMENT_BYTES_MAX) {
    throw new IntegrityError("Cannot read the VM's records: the archive does not begin with a usable ova.xml");
  }
  const end = TAR_BLOCK_BYTES + header.size;
  return archive.length < end ? undefined : archive.subarray(TAR_BLOCK_BYTES, end);
}
