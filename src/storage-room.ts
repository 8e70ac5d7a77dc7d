/** A datastore or storage repository, as a snapshot of one VM sees it. Sizes in bytes. */
export interface StorageRoom {
  /** As people know it. */
  readonly name: string;
  /** Undefined where the server does not say. */
  readonly free: number | undefined;
  /** What the snapshot takes at once: whole disks on some kinds of storage, nothing on most. */
  readonly setAside: number;
}

/** Bytes that remain free when the snapshot is made: negative when it does not fit, undefined when nobody knows. */
export function freeAfterSnapshot({ free, setAside }: StorageRoom): number | undefined {
  return free === undefined ? undefined : free - setAside;
}
