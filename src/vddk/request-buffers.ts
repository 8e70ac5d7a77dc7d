import { readFile } from "node:fs/promises";

/** What the library has unless its configuration says otherwise. */
const BUFFERS = 4;
/** More of one disk than a mount reads at once are of no use. */
const BUFFERS_MAX = 16;
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
  return requestBuffers(configFile === undefined ? "" : await readFile(configFile, "utf8").catch(() => ""));
}
