import type { BlockSource, Extent, ReadOptions } from "../../block-source.js";
import { DiskIoError, IntegrityError, MissingCapabilityError, UnreachableError, VmmountError } from "../../errors.js";
import { type NbdTarget, shownTarget } from "../../nbd/address.js";
import { NbdSource } from "../../nbd/nbd-source.js";
import type { Bytes } from "../../units.js";
import { translating } from "../xapi/fault-errors.js";
import type { HostLoad } from "./host-load.js";
import { nbdPlaces } from "./nbd-places.js";
import type { VhdMap } from "./vhd-map.js";
import type { DiskScope, XenVdi } from "./xen-vdi.js";
import { unlessAborted } from "../../unless-aborted.js";

export interface NbdDiskScope extends DiskScope {
  readonly load: HostLoad;
}

/** Connections to one host. */
interface Served {
  readonly target: NbdTarget;
  readonly source: NbdSource;
  readonly taken: number;
}

/**
 * A disk read over the NBD service of the pool's hosts. When the host, the connection or the session is lost, the pool is asked
 * again where the disk is, and the next host that has it takes over. A read is tried a few times before it fails, as
 * something that may be tried again.
 */
export class XenNbdDisk implements BlockSource {
  readonly size: Bytes;
  /** Absent where the allocation is unknown. */
  extents?: (from: Bytes, length: Bytes, options: ReadOptions) => AsyncIterable<Extent>;
  readonly #vdi: XenVdi;
  readonly #scope: NbdDiskScope;
  readonly #closing = new AbortController();
  #served: Promise<Served>;
  #closed: Promise<void> | undefined;

  private constructor(vdi: XenVdi, scope: NbdDiskScope, first: Served) {
    this.#vdi = vdi;
    this.#scope = scope;
    this.size = vdi.size;
    this.#served = Promise.resolve(first);
  }

  /** @throws MissingCapabilityError where there is no NBD; UnreachableError; the reason of the signal */
  static async open(vdi: XenVdi, scope: NbdDiskScope, signal: AbortSignal): Promise<XenNbdDisk> {
    return new XenNbdDisk(vdi, scope, await connect(vdi, scope, signal));
  }

  /** From now on holes are known. */
  useMap(map: VhdMap): void {
    this.extents = async function* (from, length, { signal }) {
      signal.throwIfAborted();
      yield* map.extents(from, length);
      await Promise.resolve();
    };
  }

  /** The host that serves it now, for messages. */
  async place(): Promise<string> {
    const { target } = await this.#served;
    const host = target.address.kind === "tcp" ? target.address.host : target.address.path;
    return `${host}, ${target.tls === undefined ? "not encrypted" : "TLS"}`;
  }

  /** Otherwise whoever listens reads the disk, and the session, which is in the name of the export. */
  async isEncrypted(): Promise<boolean> {
    return (await this.#served).target.tls !== undefined;
  }

  async read(into: Uint8Array, at: Bytes, options: ReadOptions): Promise<void> {
    const { signal } = options;
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted();
      this.#closing.signal.throwIfAborted();
      const serving = this.#served;
      try {
        const { source } = await unlessAborted(serving, signal);
        await source.read(into, at, options);
        return;
      } catch (error) {
        if (signal.aborted || this.#closing.signal.aborted || !(error instanceof VmmountError)) throw error;
        // Another read has given this way up: whatever became of ours then, the next way may serve it.
        const wasGivenUp = this.#served !== serving;
        if (!wasGivenUp && !mayPass(error)) throw error;
        this.#replace(serving, error);
        if (attempt >= this.#scope.limits.attemptsPerRead) throw this.#failure(error);
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new DiskIoError(`Cannot read ${this.#vdi.shown}: it was closed`));
    this.#closed ??= this.#leave(this.#served);
    await this.#closed;
  }

  /** The first of the reads that failed there opens another way; the others take it. */
  #replace(serving: Promise<Served>, error: VmmountError): void {
    if (this.#served !== serving) return;
    this.#scope.logger.warn(`Lost the way to ${this.#vdi.shown} (${error.message}); looking for another one`);
    this.#served = this.#reconnected(serving);
    // Whoever reads next hears of it.
    this.#served.catch(() => undefined);
  }

  async #reconnected(lost: Promise<Served>): Promise<Served> {
    const before = await lost.catch(() => undefined);
    if (before !== undefined) this.#scope.load.failed(before.target);
    // Not waited for: it takes leave of a host that may not answer.
    void this.#leave(lost);
    return await connect(this.#vdi, this.#scope, this.#closing.signal);
  }

  async #leave(served: Promise<Served>): Promise<void> {
    const one = await served.catch(() => undefined);
    if (one === undefined) return;
    this.#scope.load.giveBack(one.target, one.taken);
    await one.source[Symbol.asyncDispose]();
  }

  #failure(error: VmmountError): DiskIoError {
    return new DiskIoError(`Cannot read ${this.#vdi.shown}: ${error.message}`, {
      cause: error,
      retryable: true,
      exit: error.exit,
      hint: error.hint,
    });
  }
}

/**
 * Whether another try makes sense with a pool that has served the disk. For want of a way to it, always: it has none while the
 * only host that reaches the storage starts, and a certificate is another one when it has been renewed.
 */
function mayPass(error: VmmountError): boolean {
  const reason = error instanceof DiskIoError ? error.cause : error;
  return error.retryable || reason instanceof UnreachableError || reason instanceof MissingCapabilityError;
}

/** Asks where the disk is and takes the first place that serves it. */
async function connect(vdi: XenVdi, scope: NbdDiskScope, signal: AbortSignal): Promise<Served> {
  const { limits, load } = scope;
  const action = `Cannot read ${vdi.shown} over NBD`;
  const targets = await translating(action, () => nbdPlaces(vdi, scope, { signal }));
  let last: VmmountError | undefined;
  for (const target of load.sorted(targets, limits.avoidMs)) {
    const taken = load.take(target, limits.connectionsPerDisk, limits.connectionsPerHost);
    try {
      const options = { ...limits, connectionsMax: taken, holes: "not asked for", isFrozen: true } as const;
      const source = await NbdSource.open(target, options, signal);
      if (source.size === vdi.size) return { target, source, taken };
      await source[Symbol.asyncDispose]();
      throw new IntegrityError(`${shownTarget(target)} has ${source.size} bytes, and the disk has ${vdi.size}`);
    } catch (error) {
      load.giveBack(target, taken);
      signal.throwIfAborted();
      if (!(error instanceof VmmountError)) throw error;
      load.failed(target);
      last = error;
    }
  }
  throw new UnreachableError(`${action}: ${last?.message ?? "no host serves it"}`, {
    cause: last,
    hint: last?.hint,
    retryable: last?.retryable ?? true,
  });
}
