import type { HttpLimits } from "../../https/http-client.js";
import { KIB, MIB } from "../../units.js";

/** Every bound of the XAPI client in one place; the reason stands above each value. */
export interface XenLimits extends HttpLimits {
  readonly callMs: number;
  readonly openMs: number;
  readonly waitSeconds: number;
  readonly waitMarginMs: number;
  readonly streamStallMs: number;
  readonly streamHeadMs: number;
  readonly taskEndMs: number;
  readonly uploadEndMs: number;
  readonly keepAliveMs: number;
  readonly logoutMs: number;
  readonly cancelMs: number;
  readonly taskPollMs: number;
  readonly eventsApartMs: number;
  readonly requestBytesMax: number;
  readonly responseBytesMax: number;
  readonly errorBodyBytesMax: number;
  readonly membersMax: number;
  readonly repeatsMax: number;
  readonly removeAttemptsMax: number;
  readonly removeDelayMs: number;
  readonly chainMax: number;
}

export const XEN_LIMITS: XenLimits = {
  // TCP and TLS together: a live host answers in well under a second, even over a slow line.
  connectMs: 10_000,
  // A call without a task. Large tables take some seconds; a dead host must not hang a backup.
  callMs: 60_000,
  // Finding the master and logging in, on every member in turn; a wrong password alone is answered after 5 s.
  openMs: 120_000,
  // How long the server may hold one event.from: long enough to be cheap, short enough to notice a dead peer. Not a whole
  // number, since some servers take "30" for an integer, which the call refuses.
  waitSeconds: 30.1,
  // Added to the wait above before the client gives up on it.
  waitMarginMs: 15_000,
  // A stream without a byte for this long is dead. Reading a snapshot's first block waits for its disk to be plugged.
  streamStallMs: 120_000,
  // Until the head of an answer: the host plugs disks and asks other hosts before it answers.
  streamHeadMs: 120_000,
  // A stream has ended and its task has not: the server notices within seconds.
  taskEndMs: 60_000,
  // All of an upload is sent and its task has not ended: the host writes what it holds to the storage, which takes
  // minutes on a slow one. Giving up would throw a good import away.
  uploadEndMs: 3_600_000,
  // A session ends after 24 h without use, and its use is noted every 10 minutes.
  keepAliveMs: 900_000,
  // Logging out is a courtesy: it never delays the exit for longer.
  logoutMs: 5_000,
  // How long to wait for a cancelled task to end, so that the clean-up after it sees a settled VM.
  cancelMs: 15_000,
  // Distance of polls where the server has no usable event.from.
  taskPollMs: 1_000,
  // Between two event.from: one that the server never holds, or a task with a progress for every block, is no reason to ask
  // all the time.
  eventsApartMs: 50,
  // XAPI answers a larger request with "500 Internal Error".
  requestBytesMax: 300 * KIB,
  // Some thousand VMs with their disks: records have 2 to 4 KiB each.
  responseBytesMax: 128 * MIB,
  // The page that tells an error of an HTTP handler has some hundred bytes.
  errorBodyBytesMax: 64 * KIB,
  // A pool has at most 64 hosts.
  membersMax: 64,
  // A call is repeated for a session that ended, then for a master that moved, then for one that died meanwhile.
  repeatsMax: 3,
  // xapi allows 800 connections per host to everybody; few are enough for control calls.
  controlConnectionsMax: 4,
  // One held call per running task: snapshots of several VMs are removed side by side.
  waitConnectionsMax: 16,
  // Streams have connections of their own.
  dataConnectionsMax: 1,
  // dom0 takes seconds to let go of a disk that was read: 10 attempts, as other clients of this API do.
  removeAttemptsMax: 10,
  removeDelayMs: 5_000,
  // The storage manager refuses snapshots when 30 disk images depend on each other.
  chainMax: 30,
};

/** For a pool of which `timeoutMs` is all the patience of one call: what else waits for it keeps its proportion. */
export function xenLimits(timeoutMs = XEN_LIMITS.callMs): XenLimits {
  const share = timeoutMs / XEN_LIMITS.callMs;
  const { openMs, waitSeconds, waitMarginMs, streamStallMs, streamHeadMs, taskEndMs, logoutMs } = XEN_LIMITS;
  return {
    ...XEN_LIMITS,
    callMs: timeoutMs,
    openMs: openMs * share,
    // Still no whole number.
    waitSeconds: Math.floor(waitSeconds * share) + (waitSeconds % 1),
    waitMarginMs: waitMarginMs * share,
    streamStallMs: streamStallMs * share,
    streamHeadMs: streamHeadMs * share,
    taskEndMs: taskEndMs * share,
    logoutMs: Math.min(logoutMs, timeoutMs),
  };
}
