import type { Contender } from "../contender.js";

export const BARE_FILE = "bare file";

/** The file itself: what is left when nothing stands in between. */
export function bareFile(path: string): Contender {
  return { name: BARE_FILE, start: () => Promise.resolve({ path, pids: [] }) };
}
