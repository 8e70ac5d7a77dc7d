import type { HttpLimits } from "../https/http-client.js";
import { MIB } from "../units.js";

/** Every bound of the vSphere client in one place; the reason stands above each value. */
export interface VsphereLimits extends HttpLimits {
  readonly callMs: number;
  readonly waitSeconds: number;
  readonly waitMarginMs: number;
  readonly dataStallMs: number;
  readonly keepAliveMs: number;
  readonly logoutMs: number;
  readonly cancelMs: number;
  readonly taskPollMs: number;
  readonly quiesceMinutes: number;
  readonly responseBytesMax: number;
  readonly objectsMax: number;
  readonly pagesMax: number;
  readonly changedAreasMax: number;
  readonly changedAreaPagesMax: number;
  readonly allocationMs: number;
}

export const VSPHERE_LIMITS: VsphereLimits = {
  // TCP and TLS together: a live server answers in well under a second, even over a slow line.
  connectMs: 10_000,
  // Whole SOAP call. vCenter answers large property reads within some seconds; a dead one must not hang a backup.
  callMs: 60_000,
  // How long the server may hold one WaitForUpdatesEx: long enough to be cheap, short enough to notice a dead peer.
  waitSeconds: 60,
  // Added to the wait above before the client gives up on it.
  waitMarginMs: 15_000,
  // A datastore read without any progress for this long is dead; a busy ESXi host stalls for some seconds.
  dataStallMs: 30_000,
  // Sessions expire after 30 idle minutes by default and sites shorten that: one cheap call every 5 minutes.
  keepAliveMs: 300_000,
  // Logging out is a courtesy: it never delays the exit for longer.
  logoutMs: 5_000,
  // How long to wait for a cancelled task to end, so that the clean-up after it sees a settled VM.
  cancelMs: 15_000,
  // Distance of polls where the server has no usable property collector.
  taskPollMs: 1_000,
  // VirtualMachineGuestQuiesceSpec.timeout: the guest must not stay frozen for ever; the API's own default.
  quiesceMinutes: 15,
  // The largest honest answer (properties of some thousand VMs) has some MiB.
  responseBytesMax: 128 * MIB,
  // hostd serves about 100 connections per session to everybody; few are enough for control calls.
  controlConnectionsMax: 4,
  // One held call per running task: snapshots of several VMs are removed side by side.
  waitConnectionsMax: 16,
  // Eight TCP connections saturate an ESXi host's file service; more only provoke 503.
  dataConnectionsMax: 8,
  // A vCenter manages at most 45 000 registered VMs; the rest is folders.
  objectsMax: 200_000,
  // Servers page at 100 objects or more: 200 000 objects are at most 2000 pages.
  pagesMax: 4_000,
  // Isolated areas of 64 KiB on half of a 512 GiB disk: two numbers each stay near 64 MiB of memory.
  changedAreasMax: 4 * 1024 * 1024,
  // Servers answer some thousand areas a call, or the whole disk: the areas above are about 2000 calls.
  changedAreaPagesMax: 4_096,
  // Asking for a disk's areas and probing them, while the mount waits: usually within seconds.
  allocationMs: 300_000,
};

/** For a server of which `timeoutMs` is all the patience of one call: what else waits for it keeps its proportion. */
export function vsphereLimits(timeoutMs = VSPHERE_LIMITS.callMs): VsphereLimits {
  const share = timeoutMs / VSPHERE_LIMITS.callMs;
  return {
    ...VSPHERE_LIMITS,
    callMs: timeoutMs,
    // The server counts whole seconds.
    waitSeconds: Math.ceil(VSPHERE_LIMITS.waitSeconds * share),
    waitMarginMs: VSPHERE_LIMITS.waitMarginMs * share,
    dataStallMs: VSPHERE_LIMITS.dataStallMs * share,
    logoutMs: Math.min(VSPHERE_LIMITS.logoutMs, timeoutMs),
  };
}
