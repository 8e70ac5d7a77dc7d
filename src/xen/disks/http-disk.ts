import type { BlockSource } from "../../block-source.js";
import { IntegrityError } from "../../errors.js";
import type { TaskOptions } from "../../hypervisor.js";
import { retry } from "../../retry.js";
import { bytes } from "../../units.js";
import { SpoolFile } from "../spool/spool-file.js";
import { translating } from "../xapi/fault-errors.js";
import { exportingHost } from "./allocation.js";
import type { DiskScope, XenVdi } from "./xen-vdi.js";

export interface CopyOptions extends TaskOptions {
  /** An absolute path. */
  readonly directory: string;
  /** What the copy will take at most. */
  readonly neededBytes: number;
}

/**
 * Copies a whole disk into a file of this machine, since a host gives it once and in order only; then any place of it can be
 * read. Zeros take no room. The server's task has the last word on whether the copy is good.
 * @throws VmmountError "space", UnreachableError, IntegrityError when the server sends another count of bytes
 */
export async function copyDisk(vdi: XenVdi, scope: DiskScope, options: CopyOptions): Promise<BlockSource> {
  const { limits, logger } = scope;
  const delayMs = limits.copyDelayMs;
  return await retry(() => translating(`Cannot read ${vdi.shown}`, () => copyOnce(vdi, scope, options)), {
    policy: { retriesMax: limits.copyAttemptsMax - 1, delayMs, delayMsMax: 4 * delayMs },
    signal: options.signal,
    onRetry: (error, attempt, waitMs) => {
      logger.warn(`${error.message}; copy ${attempt + 1} begins in ${Math.round(waitMs / 1000)} s`);
    },
  });
}

async function copyOnce(vdi: XenVdi, { xapi }: DiskScope, options: CopyOptions): Promise<BlockSource> {
  const { signal, onProgress, directory, neededBytes } = options;
  const what = `Copying ${vdi.shown}`;
  const spool = await SpoolFile.create(directory, neededBytes);
  try {
    const host = await exportingHost(xapi, signal);
    // The task's own progress is guessed by the server; the bytes are counted here.
    const query = { vdi: vdi.uuid, format: "raw" };
    await using download = await xapi.download(host, "/export_raw_vdi", query, { what, signal });
    let shownPercent = -1;
    for await (const chunk of download.body) {
      signal.throwIfAborted();
      if (spool.size + chunk.length > vdi.size) throw wrongSize(vdi, "more");
      await spool.append(chunk);
      const percent = Math.floor((spool.size / vdi.size) * 100);
      if (percent > shownPercent) onProgress?.({ percent, what });
      shownPercent = percent;
    }
    await download.finished();
    if (spool.size !== vdi.size) throw wrongSize(vdi, String(spool.size));
    await spool.finish();
    return owning(spool, vdi);
  } catch (error) {
    await spool[Symbol.asyncDispose]();
    throw error;
  }
}

function wrongSize(vdi: XenVdi, sent: string): IntegrityError {
  return new IntegrityError(`Cannot read ${vdi.shown}: the server sent ${sent} of its ${vdi.size} bytes`, {
    retryable: true,
  });
}

function owning(spool: SpoolFile, vdi: XenVdi): BlockSource {
  const part = spool.part(bytes(0), vdi.size);
  return { ...part, [Symbol.asyncDispose]: () => spool[Symbol.asyncDispose]() };
}
