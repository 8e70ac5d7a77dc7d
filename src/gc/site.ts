import type { Config } from "../config.js";
import type { Logger } from "../log.js";
import type { ServerChoice } from "../mount/connection.js";
import type { StatePaths } from "../mount/state-paths.js";
import type { Logins } from "./logins.js";
import type { GcRules } from "./verdict.js";

export interface GcOptions {
  readonly config: Config;
  readonly paths: StatePaths;
  readonly choice: ServerChoice;
  readonly logger: Logger;
  /** Aborted with a CancelledError to stop. */
  readonly signal: AbortSignal;
  readonly onProgress: (what: string, percent: number | undefined) => void;
  /** Names or URLs; empty: every configured one. */
  readonly servers: readonly string[];
  readonly rules: GcRules;
  readonly dryRun: boolean;
  /** Merge delta files of every VM that needs it, whoever left them. */
  readonly consolidate: boolean;
}

/** What all steps of one run have in common. */
export interface GcSite extends GcOptions {
  readonly logins: Logins;
}
