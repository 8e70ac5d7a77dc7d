import type { ErrorFacts } from "../errors.js";
import type { LocatorForm } from "../locator.js";
import type { Settings } from "../settings.js";
import type { SessionStatus } from "./control-protocol.js";

/**
 * What the front command hands to the daemon it starts, over the IPC socket pair: the one way a password can travel
 * that no other process can look at.
 */
export interface MountRequest {
  readonly session: string;
  /** Canonical. */
  readonly mountPoint: string;
  /** That directory was made for this mount, and goes with it. */
  readonly madeMountPoint: boolean;
  /** Say "prepared" before the snapshot, and wait for "proceed". */
  readonly waitsForTurn: boolean;
  readonly connection: {
    readonly name: string;
    readonly url: string;
    readonly user: string;
    readonly password: string;
    readonly ca: string | undefined;
    readonly caFile: string | undefined;
    readonly fingerprint: string | undefined;
    readonly insecure: boolean;
    readonly timeoutMs?: number | undefined;
  };
  readonly locator: { readonly form: LocatorForm; readonly text: string };
  readonly settings: Settings;
}

/** What a VM has in common with others: limits count by it. */
export interface VmPlace {
  /** By the server's own id. */
  readonly host: string | undefined;
  /** Names of datastores or storage repositories. */
  readonly storages: readonly string[];
}

export type ToDaemon =
  | { readonly type: "mount"; readonly request: MountRequest }
  | { readonly type: "proceed" }
  | { readonly type: "cancel"; readonly signal: number };

export type FromDaemon =
  | { readonly type: "listening" }
  | { readonly type: "log"; readonly line: string }
  | { readonly type: "progress"; readonly what: string; readonly percent: number | undefined }
  /** Everything that needs no snapshot is done. */
  | { readonly type: "prepared"; readonly place: VmPlace }
  | { readonly type: "ready"; readonly status: SessionStatus }
  | { readonly type: "failed"; readonly error: ErrorFacts };
