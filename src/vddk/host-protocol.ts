import type { ErrorFacts } from "../errors.js";
import { MIB } from "../units.js";
import type { LoggedCalls } from "./call-log.js";
import type { VddkLogin } from "./connection-params.js";
import type { VddkLibrary } from "./find-library.js";

/**
 * What the mount daemon and its VDDK host tell each other, over the channel that only the two have. Both are the same program in
 * the same version: nothing is checked.
 */
export interface HostRequest {
  readonly library: VddkLibrary;
  readonly configFile: string | undefined;
  readonly login: VddkLogin;
  /** The unix socket to serve on. */
  readonly socket: string;
  /** Of the memory that the daemon has as well, whose descriptor is MEMORY_FD; 0 without one. */
  readonly sharedBytes: number;
  /** Requests per disk that the library has at a time. */
  readonly depth: number;
  /** From fewer requests, which a host had asked for, to one more. */
  readonly riseAfterMs: number;
  /** Before the disks: what crashed processes left attached to this machine is removed. */
  readonly cleansUp: boolean;
  /** Of the library, which the host tells of. */
  readonly calls: LoggedCalls;
  /** Open before anybody can connect: those of a host that this one replaces. */
  readonly disks: readonly DiskRequest[];
}

/** A host serves NFC requests from few buffers of its own: larger ones are refused on some. */
export const REQUEST_BYTES_MAX = 2 * MIB;

/** The descriptor that the host finds the shared memory at, behind the channel. */
export const MEMORY_FD = 4;

/** A disk as VDDK names it. */
export interface DiskRequest {
  /** Of the export. */
  readonly name: string;
  /** `[datastore] dir/file.vmdk` */
  readonly path: string;
  /** One of TRANSPORT_MODES. */
  readonly mode: string;
  /** `snapshot-33`; undefined for a VM that is switched off. */
  readonly snapshot: string | undefined;
  /** Read-only unless it is asked for; only of a VM that is switched off, and of no snapshot. */
  readonly access?: "read-write";
}

export interface OpenedVddkDisk {
  readonly capacityBytes: number;
  readonly mode: string;
  readonly links: number;
}

export type ToHost =
  | { readonly type: "begin"; readonly request: HostRequest }
  | { readonly type: "open"; readonly disk: DiskRequest }
  | { readonly type: "access"; readonly what: "prepare" | "end"; readonly identity: string }
  | { readonly type: "login"; readonly login: VddkLogin }
  | { readonly type: "clean" }
  | { readonly type: "alive" }
  | { readonly type: "close" }
  | { readonly type: "end" };

/** A failure of the library's has its code. */
export interface HostFailure {
  readonly error: ErrorFacts;
  readonly vix: number | undefined;
}

/** Each answers one of the above, in order; "note" comes between, and "reopened" when a disk was lost: how opening it again went. */
export type FromHost =
  | { readonly type: "ready"; readonly modes: string }
  | { readonly type: "opened"; readonly disk: OpenedVddkDisk }
  | { readonly type: "done" }
  | ({ readonly type: "failed" } & HostFailure)
  | { readonly type: "note"; readonly level: "trace" | "debug" | "info" | "warn"; readonly text: string }
  | { readonly type: "reopened"; readonly turn: number; readonly failure: HostFailure | undefined };
