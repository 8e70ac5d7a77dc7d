import type { HandlerCall } from "../http-handlers.js";
import { FileDisk } from "../archive/disk-bytes.js";

/**
 * A disk plugged into the control domain of the serving host for as long as `run` takes; it stays in use a moment longer.
 * @throws XapiFault VDI_IN_USE, SR_HAS_NO_PBDS
 */
export async function withDisk<T>(
  { pool, host }: HandlerCall,
  vdi: string,
  mode: "RO" | "RW",
  run: (disk: FileDisk) => Promise<T>,
): Promise<T> {
  const attachment = pool.attachments.plug(vdi, host, mode);
  try {
    await using file = await pool.store.open(vdi, mode === "RO" ? "r" : "r+");
    return await run(new FileDisk(file, pool.store.size(vdi)));
  } finally {
    attachment.release();
  }
}

/** As `withDisk`, for what gives its bytes bit by bit. */
export async function* fromDisk(
  { pool, host }: HandlerCall,
  vdi: string,
  stream: (disk: FileDisk) => AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const attachment = pool.attachments.plug(vdi, host, "RO");
  try {
    await using file = await pool.store.open(vdi);
    yield* stream(new FileDisk(file, pool.store.size(vdi)));
  } finally {
    attachment.release();
  }
}
