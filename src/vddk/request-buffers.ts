import { constants } from "node:fs";
import { open } from "node:fs/promises";

/** What the library has unless its configuration says otherwise. */
const BUFFERS = 4;
/** A mount reads at most 8 places of a disk at once, ahead and for readers; more requests than that twice are of no use. */
const BUFFERS_MAX = 16;
/** Configurations have some hundred bytes; what is larger is something else. */
const CONFIG_BYTES_MAX = 64 * 1024;
/** `name=value`, blanks and quotes allowed; the last one holds. */
const LINE = /^[ \t]*vixDiskLib\.nfcAio\.Session\.BufCount[ \t]*=[ \t]*"?(\d{1,9})"?[ \t\r]*$/gim;

/**
 * Buffers for asynchronous requests that the library has of each disk, by the text of its configuration
 * (`vixDiskLib.nfcAio.Session.BufCount`; VMware's programming guide, "Configuration File"). More requests than buffers at a time only wait.
 */
export function requestBuffers(config: string): number {
  const value = Number([...config.matchAll(LINE)].at(-1)?.[1] ?? BUFFERS);
  return Math.min(BUFFERS_MAX, Math.max(1, value));
}

/** As above. The library itself complains of a file that cannot be read, and does without. */
export async function requestBuffersOf(configFile: string | undefined): Promise<number> {
  return requestBuffers(configFile === undefined ? "" : await beginningOf(configFile).catch(() => ""));
}

/** Neither waits for whoever writes to a pipe, nor reads a device to its end. */
async function beginningOf(path: string): Promise<string> {
  await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(CONFIG_BYTES_MAX), 0, CONFIG_BYTES_MAX, null);
  return buffer.toString("utf8", 0, bytesRead);
}
