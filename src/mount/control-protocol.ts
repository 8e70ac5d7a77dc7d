import { z } from "zod";
import { EXIT_CODES, type ExitName } from "../exit-codes.js";

/**
 * The control socket of a mount daemon: one JSON object a line in both directions. A client sends one request and
 * reads messages until "done" or "failed".
 */
export const controlRequestSchema = z.discriminatedUnion("op", [
  z.object({ op: z.literal("status") }),
  z.object({ op: z.literal("umount"), force: z.boolean() }),
]);
export type ControlRequest = z.infer<typeof controlRequestSchema>;

export const errorFactsSchema = z.object({
  code: z.number(),
  name: z.enum(Object.keys(EXIT_CODES) as [ExitName, ...ExitName[]]),
  kind: z.string(),
  message: z.string(),
  hint: z.string().optional(),
  retryable: z.boolean(),
});

export const diskStatusSchema = z.object({
  node: z.string(),
  label: z.string(),
  capacity: z.number(),
  allocated: z.number(),
  included: z.boolean(),
  /** Its name in the mount; absent when it is not included, and from daemons before 0.2. */
  file: z.string().optional(),
  reason: z.string().optional(),
  transport: z.string().optional(),
  /** Transports that were tried before, and why they could not be used. */
  refused: z.array(z.object({ transport: z.string(), reason: z.string() })).optional(),
  allocation: z.string().optional(),
});
export type DiskStatus = z.infer<typeof diskStatusSchema>;

/** What `mount` answers and `status` shows of one session; stable for `--json`. */
export const sessionStatusSchema = z.object({
  session: z.string(),
  state: z.string(),
  mountPoint: z.string(),
  pid: z.number(),
  startedAt: z.string(),
  server: z.object({ name: z.string(), url: z.string() }),
  vm: z.object({ name: z.string(), path: z.string(), ref: z.string(), instanceUuid: z.string().optional() }),
  /** Name and ref are null when no snapshot was made. */
  snapshot: z.object({
    name: z.string().nullable(),
    ref: z.string().nullable(),
    createdAt: z.string(),
    consistency: z.string(),
  }),
  disks: z.array(diskStatusSchema),
  /** Of a pool source, which has no disks. */
  files: z.array(z.object({ file: z.string(), about: z.string(), bytes: z.number() })).optional(),
  driver: z.string(),
  traffic: z.object({
    /** Bytes handed to readers of the mount. */
    servedBytes: z.number(),
    /** Bytes that came from the server. */
    fetchedBytes: z.number(),
    fetches: z.number(),
    cacheBytes: z.number(),
    errors: z.number(),
    // A daemon outlives an update of the program: one of an earlier version does not send what follows.
    /** Files that the kernel reads from a local file by itself: those bytes are not in `servedBytes`. */
    passthroughFiles: z.number().default(0),
    openFiles: z.number().default(0),
    readsInFlight: z.number().default(0),
  }),
  /** Absent from daemons before 0.2. */
  readAhead: z
    .object({
      /** Blocks fetched ahead of a reader, and those of them that were thrown away unread. */
      blocks: z.number(),
      wasted: z.number(),
      /** Requests that are worth having under way, and what that was measured from; 0 before. */
      parallel: z.number(),
      bytesPerSecond: z.number(),
      delayMs: z.number(),
    })
    .optional(),
  /** A read failed for good: some reader got an I/O error. */
  degraded: z.string().optional(),
  log: z.string(),
});
export type SessionStatus = z.infer<typeof sessionStatusSchema>;

export const controlMessageSchema = z.discriminatedUnion("type", [
  /** The daemon lives and works on it. */
  z.object({ type: z.literal("alive") }),
  z.object({ type: z.literal("progress"), what: z.string(), percent: z.number().optional() }),
  z.object({ type: z.literal("status"), status: sessionStatusSchema }),
  z.object({ type: z.literal("done"), message: z.string() }),
  z.object({ type: z.literal("failed"), error: errorFactsSchema }),
]);
export type ControlMessage = z.infer<typeof controlMessageSchema>;

/** How often a daemon that works on a request says so, and after how much silence a client gives it up. */
export const ALIVE_INTERVAL_MS = 5_000;
export const SILENCE_MS_MAX = 60_000;

/** A request is a few words; a status lists at most a few hundred disks. */
export const REQUEST_BYTES_MAX = 4 * 1024;
export const MESSAGE_BYTES_MAX = 4 * 1024 * 1024;
