import { IntegrityError, MissingCapabilityError, NotFoundError } from "../errors.js";
import type { CallOptions } from "../hypervisor.js";
import { KIB, MIB } from "../units.js";
import { XapiFault } from "./xapi/fault.js";
import type { Xapi, XenHost } from "./xapi/xapi.js";

/** Records of one VM with all its snapshots: some hundred KiB at most. */
const DOCUMENT_BYTES_MAX = 16 * MIB;
const BLOCK_BYTES = 512;
/** The header, and what else may come in the same piece. */
const ARCHIVE_BYTES_MAX = DOCUMENT_BYTES_MAX + 64 * KIB;

/**
 * `ova.xml` as the server writes it for a VM, or for a snapshot as it was: the records that an import makes a VM of.
 * @param at `ref` is the VM's or the snapshot's
 * @throws XapiFault, UnreachableError, IntegrityError
 */
export async function loadOvaDocument(
  at: { readonly ref: string; readonly isSnapshot: boolean },
  xapi: Pick<Xapi, "hosts" | "download">,
  options: CallOptions,
): Promise<Uint8Array> {
  const [master] = await xapi.hosts(options);
  if (master === undefined) throw new NotFoundError("The pool shows no host");
  const query = { ref: at.ref, export_snapshots: "false" };
  try {
    return await firstMember({ host: master, path: "/export_metadata", query }, xapi, options);
  } catch (error) {
    if (!at.isSnapshot || !isRefused(error)) throw error;
  }
  // Before xapi 24.13 only a whole archive tells what a snapshot is; it begins with the same document.
  return await firstMember({ host: master, path: "/export", query: { ref: at.ref } }, xapi, options);
}

function isRefused(error: unknown): boolean {
  return (
    error instanceof MissingCapabilityError ||
    (error instanceof XapiFault && error.is("OPERATION_NOT_ALLOWED", "VM_IS_SNAPSHOT", "VM_IS_TEMPLATE"))
  );
}

async function firstMember(
  { host, path, query }: { readonly host: XenHost; readonly path: string; readonly query: Record<string, string> },
  xapi: Pick<Xapi, "download">,
  { signal }: CallOptions,
): Promise<Uint8Array> {
  const what = "Reading the VM's records";
  await using download = await xapi.download(host, path, query, { signal, what });
  let known = Buffer.alloc(0);
  for await (const piece of download.body) {
    known = Buffer.concat([known, piece]);
    const document = memberOf(known);
    if (document !== undefined) return document;
    if (known.length > ARCHIVE_BYTES_MAX) break;
  }
  // It ended early: the task knows why.
  await download.finished();
  throw new IntegrityError(`Cannot read ${path} of ${host.name}: it holds no ova.xml of a reasonable size`);
}

/** @returns undefined while bytes are missing @throws IntegrityError when something else comes first */
function memberOf(archive: Buffer): Uint8Array | undefined {
  if (archive.length < BLOCK_BYTES) return undefined;
  const name = archive.toString("latin1", 0, 100).replace(/\0.*$/s, "");
  // Octal (POSIX.1-1988, ustar).
  const sizeText = archive
    .toString("latin1", 124, 136)
    .replace(/[\0 ]+$/, "")
    .trim();
  const size = /^[0-7]{1,11}$/.test(sizeText) ? Number.parseInt(sizeText, 8) : Number.NaN;
  if (name !== "ova.xml" || !(size > 0 && size <= DOCUMENT_BYTES_MAX)) {
    throw new IntegrityError("Cannot read the VM's records: the archive does not begin with ova.xml");
  }
  return archive.length < BLOCK_BYTES + size ? undefined : archive.subarray(BLOCK_BYTES, BLOCK_BYTES + size);
}
