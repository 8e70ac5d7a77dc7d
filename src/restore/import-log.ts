import { ImportRecord } from "../mount/import-record.js";
import type { StatePaths } from "../mount/state-paths.js";
import { describeImport } from "../snapshot/ownership.js";
import { thisHost } from "../snapshot/host.js";
import type { ImportNotes } from "../xen/import/import-archive.js";

/** Keeps the record of one import, from the moment at which the pool has a task for it. */
export class ImportLog implements ImportNotes, AsyncDisposable {
  readonly #paths: StatePaths;
  readonly #about: { readonly url: string; readonly backup: string };
  readonly #started = new Date().toISOString();
  #record: ImportRecord | undefined;

  constructor(paths: StatePaths, about: { readonly url: string; readonly backup: string }) {
    this.#paths = paths;
    this.#about = about;
  }

  /** What the task on the server says. */
  get mark(): string {
    return describeImport({ ...thisHost(), created: this.#started });
  }

  async begun(task: string): Promise<void> {
    this.#record = await ImportRecord.create(this.#paths, { ...this.#about, task, started: this.#started });
  }

  async sent(): Promise<void> {
    await this.#record?.note("sent");
  }

  async failed(): Promise<void> {
    await this.#record?.note("failed");
  }

  async ended(): Promise<void> {
    await this.#record?.erase();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#record?.[Symbol.asyncDispose]();
  }
}
