import { createHash } from "node:crypto";
import { Worker } from "node:worker_threads";
import { errorChain } from "../../errors.js";

/** Of JavaScript's young objects: the thread makes some hundred bytes for each MiB that it hashes. */
const YOUNG_MIB_MAX = 4;

/** What the thread runs: plain JavaScript, so that it starts the same from dist and from a test. */
const PROGRAM = `
const { createHash } = require("node:crypto");
const { parentPort } = require("node:worker_threads");
parentPort.on("message", ({ id, data }) => {
  parentPort.postMessage({ id, hash: createHash("sha1").update(data).digest("hex") });
});
`;

interface Job {
  readonly data: Uint8Array;
  readonly done: (hash: string | Promise<string>) => void;
}

interface Answer {
  readonly id: number;
  readonly hash: string;
}

/**
 * SHA-1 on a thread of its own, of data in shared memory: nothing is copied on the way there, and reading goes on meanwhile.
 * The thread starts with the first data. It keeps no process alive, and when it dies its work is done on this thread, with a warning of Node's.
 */
export class HashThread {
  #thread: Worker | "not yet" | "gone" = "not yet";
  readonly #jobs = new Map<number, Job>();
  #lastId = 0;

  /**
   * @param data not written to until the promise settles; what is not in shared memory is hashed at once, on this thread
   * @returns lower-case hex
   */
  async sha1(data: Uint8Array): Promise<string> {
    const thread = data.buffer instanceof SharedArrayBuffer ? this.#started() : undefined;
    if (thread === undefined) return await sha1Here(data);
    return await new Promise((done) => {
      const id = ++this.#lastId;
      this.#jobs.set(id, { data, done });
      thread.ref();
      thread.postMessage({ id, data });
    });
  }

  /** Ends the thread; what it has not hashed is hashed here. */
  async close(): Promise<void> {
    const thread = this.#thread;
    this.#gone();
    if (typeof thread !== "string") await thread.terminate();
  }

  #started(): Worker | undefined {
    if (this.#thread === "gone") return undefined;
    if (this.#thread !== "not yet") return this.#thread;
    try {
      this.#thread = this.#start();
      return this.#thread;
    } catch (error) {
      // A limit of tasks, say.
      this.#died(error);
      return undefined;
    }
  }

  #start(): Worker {
    const options = { eval: true, name: "sha1", execArgv: [], env: {}, stdin: false };
    const thread = new Worker(PROGRAM, { ...options, resourceLimits: { maxYoungGenerationSizeMb: YOUNG_MIB_MAX } });
    thread.on("error", (error) => {
      this.#died(error);
    });
    thread.on("exit", (code) => {
      this.#died(new Error(`it ended with ${code}`));
    });
    thread.on("message", ({ id, hash }: Answer) => {
      const job = this.#jobs.get(id);
      this.#jobs.delete(id);
      if (this.#jobs.size === 0) thread.unref();
      job?.done(hash);
    });
    return thread;
  }

  #died(error: unknown): void {
    if (this.#thread === "gone") return;
    process.emitWarning(
      `Archives are read more slowly from now on, there is no thread for SHA-1: ${errorChain(error)}`,
    );
    this.#gone();
  }

  #gone(): void {
    this.#thread = "gone";
    const jobs = [...this.#jobs.values()];
    this.#jobs.clear();
    for (const { data, done } of jobs) done(sha1Here(data));
  }
}

// eslint-disable-next-line @typescript-eslint/require-await -- what it throws is a rejection
async function sha1Here(data: Uint8Array): Promise<string> {
  return createHash("sha1").update(data).digest("hex");
}
