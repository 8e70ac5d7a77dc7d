import type { Transport } from "./transports.js";

export interface HealthCall {
  readonly signal: AbortSignal;
}

/** One thing that an account may do, or not, on one object. */
export interface Right {
  /** The server's own name of it: `VirtualMachine.State.CreateSnapshot`, `vm.snapshot`. */
  readonly name: string;
  readonly on: "vm" | "datastore" | "datacenter" | "root" | "pool";
  /** The object as people know it: `datastore "ds1"`. */
  readonly object: string;
  /** What it is for, as in "needed to …". */
  readonly purpose: string;
  /** backup: no mount without it; better: a mount does with less; other: another command or option, never a mount's. */
  readonly need: "backup" | "better" | "other";
  readonly isGranted: boolean;
  /** What to do when it is missing. */
  readonly remedy: string;
}

/** A port that transports reach a host of the server on. */
export interface HostPort {
  /** The host as the server calls it. */
  readonly host: string;
  /** Name or address, IPv6 without brackets. */
  readonly address: string;
  readonly port: number;
  /** What uses it: none of them works when it is closed. */
  readonly transports: readonly Transport[];
}

/** A datastore or a storage repository that holds disks of a VM. */
export interface StorageRoom {
  /** As people know it: `datastore "ds1"`. */
  readonly name: string;
  readonly type: string;
  /** Bytes; undefined where the server does not say. */
  readonly freeBytes: number | undefined;
  readonly totalBytes: number | undefined;
  /** Bytes that a snapshot of the VM sets aside at once. */
  readonly snapshotBytes: number;
}

/** Something that happened to a VM, as the server tells it. */
export interface Happening {
  readonly kind: "task" | "event";
  /** ISO 8601; empty when the server gives none. */
  readonly time: string;
  readonly text: string;
}

/**
 * What a server tells of itself besides the main job. Nothing here changes anything on it.
 * test/fixtures/contract/health.ts is the suite that every implementation passes.
 */
export interface ServerHealth {
  /** So many disk images may depend on each other; the storage refuses a snapshot of one with more. */
  readonly chainMax: number;

  /** The server's clock now. */
  clock(options: HealthCall): Promise<Date>;

  /**
   * What this account may do on a VM and on what belongs to it; without one, on the server as a whole.
   * @throws MissingCapabilityError where the server cannot say
   */
  rights(vm: string | undefined, options: HealthCall): Promise<readonly Right[]>;

  /** Ports of the hosts that have the VM; without one, of every host that is known to matter. */
  ports(vm: string | undefined, options: HealthCall): Promise<readonly HostPort[]>;

  /** Where the VM's disks lie. */
  storages(vm: string, options: HealthCall): Promise<readonly StorageRoom[]>;

  /**
   * What happened to the VM lately, newest last, never more than `max`.
   * @throws MissingCapabilityError where the server cannot say
   */
  happenings(vm: string, options: HealthCall & { readonly max: number }): Promise<readonly Happening[]>;
}
