import type { CleanupStack } from "../../src/cleanup.js";

/** One way to read a disk as a file: started anew for every run, since a cache that is full already wins any race. */
export interface Contender {
  readonly name: string;
  /** @param owner everything that was started ends with it */
  start(owner: CleanupStack): Promise<Started>;
}

export interface Started {
  /** The disk as a raw image. */
  readonly path: string;
  /** The processes that serve it; none when the kernel alone does. */
  readonly pids: readonly number[];
}

/** What one run has shown. */
export interface Sample {
  /** In the unit of its table. */
  readonly value: number;
  readonly cpuSecondsPerGb?: number;
  readonly peakRssBytes?: number;
}
