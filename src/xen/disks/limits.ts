import { KIB } from "../../units.js";

/** Every bound of reading disks in one place; the reason stands above each value. */
export interface XenDiskLimits {
  readonly connectMs: number;
  readonly stallMs: number;
  readonly connectionsPerDisk: number;
  readonly connectionsPerHost: number;
  readonly attemptsPerRead: number;
  readonly avoidMs: number;
  readonly allocationMs: number;
  readonly probesMax: number;
  readonly probeBytes: number;
  readonly copyAttemptsMax: number;
  readonly copyDelayMs: number;
}

export const XEN_DISK_LIMITS: XenDiskLimits = {
  // TCP, TLS, and the host plugging the disk into its dom0, which takes seconds.
  connectMs: 20_000,
  // A host that owes bytes for so long is taken for lost, with time left for another one before the reader gives up.
  stallMs: 15_000,
  // A host serves one request after the other on a connection: a second one hides the way to and fro.
  connectionsPerDisk: 2,
  // A host takes 16 from everybody and drops the next without a word.
  connectionsPerHost: 12,
  // One for the lost connection, one for a host that died with it, one more; whoever waits longer repeats the read.
  attemptsPerRead: 3,
  // A host that failed is asked last for so long.
  avoidMs: 60_000,
  // The map is there at once where it is there at all; the mount waits for it.
  allocationMs: 30_000,
  // Reads that find out whether a map lies: some milliseconds each.
  probesMax: 64,
  probeBytes: 4 * KIB,
  // A copy that breaks begins anew, which is hours for a large disk: not for ever.
  copyAttemptsMax: 3,
  copyDelayMs: 5_000,
};
