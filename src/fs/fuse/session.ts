import type { Logger } from "../../log.js";
import type { MountStatistics } from "../fuse-driver.js";
import type { FileSystem } from "../filesystem.js";
import type { InitLimits, Negotiated } from "./init.js";
import { OpenFiles } from "./open-files.js";
import { type BackingFiles, Passthrough } from "./passthrough.js";
import { Reads, type ReadsOptions } from "./reads.js";
import type { Replies } from "./replies.js";

/** What one connection to the kernel knows; the operations work on it. */
export class Session {
  readonly filesystem: FileSystem;
  readonly limits: InitLimits;
  readonly logger: Logger;
  readonly replies: Replies;
  readonly files: OpenFiles;
  readonly reads: Reads;
  readonly passthrough: Passthrough;
  /** Resolves when INIT was answered: from then on the mount can be read. */
  readonly ready: Promise<Negotiated>;
  readonly #requests = new Map<string, number>();
  #negotiated: (agreed: Negotiated) => void = () => undefined;

  constructor(options: {
    readonly filesystem: FileSystem;
    readonly limits: InitLimits;
    readonly logger: Logger;
    readonly replies: Replies;
    readonly backing: BackingFiles;
    readonly reads: ReadsOptions;
  }) {
    this.filesystem = options.filesystem;
    this.limits = options.limits;
    this.logger = options.logger;
    this.replies = options.replies;
    this.files = new OpenFiles(options.logger);
    this.reads = new Reads(options.replies, this.files, options.logger, options.reads);
    this.passthrough = new Passthrough(options.backing, options.logger);
    this.ready = new Promise((resolve) => {
      this.#negotiated = resolve;
    });
  }

  negotiated(agreed: Negotiated): void {
    if (agreed.passthrough) this.passthrough.agree();
    this.#negotiated(agreed);
  }

  count(operation: string): void {
    this.#requests.set(operation, (this.#requests.get(operation) ?? 0) + 1);
  }

  get statistics(): MountStatistics {
    return {
      requests: Object.fromEntries(this.#requests),
      readBytes: this.reads.bytesServed,
      readErrors: this.reads.errors,
      passthroughFiles: this.passthrough.files,
      openFiles: this.files.count,
      readsInFlight: this.reads.inFlight,
    };
  }

  /** The kernel is gone: stops what runs for it. The device is still open. */
  end(): void {
    this.reads.abortAll();
    this.passthrough.close();
    this.files.releaseAll();
  }
}
