import type { BlockSource } from "../block-source.js";
import { DiskIoError, errorChain, IntegrityError, unwrapAbort } from "../errors.js";
import { BlockCache, type CacheStatistics } from "../fs/block/cache.js";
import { cached } from "../fs/block/cached.js";
import { ExtentMap } from "../fs/block/extent-map.js";
import { failingFast } from "../fs/block/failing-fast.js";
import { filtered } from "../fs/block/filter.js";
import { limited, type ReadLimit, readLimit } from "../fs/block/limited.js";
import { metered, ReadMeter } from "../fs/block/metered.js";
import { paced } from "../fs/block/paced.js";
import { Parallelism } from "../fs/block/parallelism.js";
import { Prefetcher } from "../fs/block/prefetcher.js";
import { readAhead } from "../fs/block/read-ahead.js";
import { retrying } from "../fs/block/retrying.js";
import { sparse } from "../fs/block/sparse.js";
import type { Logger } from "../log.js";
import type { RetryPolicy } from "../retry.js";
import type { Settings } from "../settings.js";
import { bytes } from "../units.js";
import { fittingBlockBytes, memoryShares } from "./memory-shares.js";

/** The first wait of a failed read; the reader sits in the kernel meanwhile. */
const READ_RETRY_DELAY_MS = 500;
const READ_RETRY_DELAY_MS_MAX = 8_000;

/** Between the end of a read's last attempt and the end of its reader's patience, which counts waiting for memory as well. */
const PATIENCE_MARGIN_MS = 2_000;

/** Of the parallel reads, how many may be ones that nobody waits for yet: somebody who does finds the rest free. */
const AHEAD_SHARE = 3 / 4;

export interface StackOptions {
  /** "local": files of this machine, which its kernel caches and reads ahead. */
  readonly kind: "remote" | "local";
  readonly signal: AbortSignal;
}

export interface StackedDisk {
  readonly source: BlockSource;
  /** Undefined when allocation is unknown: everything counts as data. */
  readonly extents: ExtentMap | undefined;
}

/**
 * Builds the block stack of every disk of a mount; the one place that decides its order, bottom up:
 *
 *   source -> metered -> paced -> limited -> retrying -> failing fast -> sparse -> cache -> read-ahead -> image file
 *
 * Metering sits at the bottom so that it counts what really crossed the network; the limit sits below retrying so that
 * a read that waits for its next attempt does not hold a place. A local file gets neither cache nor read-ahead: the
 * kernel has both for it already.
 */
export class BlockStack {
  readonly meter = new ReadMeter();
  readonly #cache: BlockCache;
  readonly #limit: ReadLimit;
  readonly #parallelism: Parallelism;
  readonly #prefetcher: Prefetcher;
  readonly #settings: Settings;
  readonly #policy: RetryPolicy;
  readonly #logger: Logger;
  #firstFailure: string | undefined;
  #distrusted: string | undefined;

  /** @param options.firstRetryMs shorter in tests */
  constructor(settings: Settings, logger: Logger, { firstRetryMs = READ_RETRY_DELAY_MS } = {}) {
    this.#settings = settings;
    this.#logger = logger;
    this.#policy = {
      retriesMax: settings["read.retries"],
      delayMs: firstRetryMs,
      delayMsMax: READ_RETRY_DELAY_MS_MAX,
    };
    const parallelMax = settings["mount.parallel_reads"];
    const { cacheBytes } = memoryShares(settings["mount.cache_size"]);
    this.#limit = readLimit(parallelMax);
    this.#parallelism = new Parallelism(Math.max(1, Math.floor(parallelMax * AHEAD_SHARE)));
    this.#cache = new BlockCache({
      bytesMax: cacheBytes,
      blockBytes: fittingBlockBytes(settings["mount.block_size"], cacheBytes),
      parallel: () => this.#parallelism.target,
      patience: {
        // The load's own time-out knows better what is wrong: it comes first.
        waitMs: settings["read.timeout"] + PATIENCE_MARGIN_MS,
        onGivenUp: ({ message }) => {
          this.#firstFailure ??= message;
          this.#logger.error(message);
        },
      },
    });
    this.#prefetcher = new Prefetcher(this.#cache, { windowMax: settings["mount.read_ahead"] });
  }

  get cacheStatistics(): CacheStatistics {
    return this.#cache.statistics;
  }

  /** Requests to the server that are worth having under way, as measured. */
  get parallel(): { readonly target: number; readonly bytesPerSecond: number; readonly delayMs: number } {
    return { target: this.#parallelism.target, ...this.#parallelism.measured };
  }

  /** The first read that failed for good. */
  get firstFailure(): string | undefined {
    return this.#firstFailure;
  }

  describe(): string {
    const { blocksMax, blockBytes } = this.#cache;
    const { "mount.read_ahead": ahead, "mount.parallel_reads": parallel } = this.#settings;
    return `cache of ${blocksMax} blocks of ${blockBytes} bytes, read-ahead ${ahead} blocks, ${parallel} parallel reads`;
  }

  /**
   * Takes over `below`: disposing the result disposes it.
   * @throws IntegrityError when the allocation map of the source is inconsistent
   */
  async stack(below: BlockSource, name: string, { kind, signal }: StackOptions): Promise<StackedDisk> {
    const measured = metered(below, this.meter);
    const retried = retrying(kind === "local" ? measured : limited(paced(measured, this.#parallelism), this.#limit), {
      policy: this.#policy,
      deadlineMs: this.#settings["read.timeout"],
      onRetry: (error, attempt, waitMs) => {
        this.#logger.warn(
          `Reading ${name} failed (${error.message}); attempt ${attempt + 1} in ${Math.round(waitMs)} ms`,
        );
      },
    });
    const asked = failingFast(retried);
    const extents = await this.#collectExtents(asked, name, signal);
    const flat = this.#noticeFailures(extents === undefined ? asked : sparse(asked, extents), name);
    if (kind === "local") return { source: flat, extents };
    const source = readAhead(cached(flat, this.#cache), { prefetcher: this.#prefetcher, map: extents });
    return { source, extents };
  }

  async #collectExtents(source: BlockSource, name: string, signal: AbortSignal): Promise<ExtentMap | undefined> {
    if (source.extents === undefined || this.#settings["mount.allocation"] === "off") return undefined;
    try {
      return await ExtentMap.collect(source.size, source.extents(bytes(0), source.size, { signal }));
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error;
      // A map that contradicts itself is worth nothing; reading everything is slow and right.
      this.#logger.warn(`The server's allocation map of ${name} is not used: ${errorChain(error)}`);
      return undefined;
    }
  }

  /** From now on what the server sends cannot be trusted: every further fetch fails; cached blocks are from before. */
  distrust(reason: string): void {
    this.#distrusted = reason;
    this.#firstFailure ??= reason;
    this.#logger.error(`Reads fail from now on: ${reason}`);
  }

  #noticeFailures(below: BlockSource, name: string): BlockSource {
    return filtered(below, {
      read: async (into, at, options) => {
        try {
          if (this.#distrusted !== undefined) throw new DiskIoError(`Cannot read ${name}: ${this.#distrusted}`);
          await below.read(into, at, options);
        } catch (thrown) {
          const error = unwrapAbort(thrown);
          if (!options.signal.aborted) {
            this.#firstFailure ??= `${name} at byte ${at}: ${errorChain(error)}`;
            this.#logger.error(`Cannot read ${into.length} bytes at ${at} of ${name}: ${errorChain(error)}`);
          }
          throw error;
        }
      },
    });
  }
}
