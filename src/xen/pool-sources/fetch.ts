import { createHash } from "node:crypto";
import type { TaskOptions } from "../../hypervisor.js";
import type { Bytes } from "../../units.js";
import { bytes } from "../../units.js";
import type { SpoolFile } from "../spool/spool-file.js";
import type { Xapi, XenHost } from "../xapi/xapi.js";

/** How often a transfer says how far it is. */
const PROGRESS_BYTES = 16 * 1024 * 1024;

export interface Fetched {
  /** In the spool. */
  readonly offset: Bytes;
  readonly length: Bytes;
  readonly sha256: string;
}

/**
 * Appends to the spool what a handler streams, to its end, which only the server's task tells from a cut.
 * @throws XapiFault, UnreachableError, DiskIoError, VmmountError "space"
 */
export async function fetchInto(
  spool: SpoolFile,
  from: { readonly host: XenHost; readonly path: string; readonly query: Readonly<Record<string, string>> },
  xapi: Pick<Xapi, "download">,
  { signal, onProgress, what }: TaskOptions & { readonly what: string },
): Promise<Fetched> {
  const offset = spool.size;
  const hash = createHash("sha256");
  await using download = await xapi.download(from.host, from.path, from.query, { signal, what });
  let told = 0;
  for await (const piece of download.body) {
    hash.update(piece);
    await spool.append(piece);
    const done = spool.size - offset;
    if (done - told < PROGRESS_BYTES) continue;
    told = done;
    const percent = download.length === undefined ? undefined : Math.floor((done / download.length) * 100);
    onProgress?.({ what: `${what}: ${Math.floor(done / 1e6)} MB`, percent });
  }
  await download.finished();
  return { offset, length: bytes(spool.size - offset), sha256: hash.digest("hex") };
}
