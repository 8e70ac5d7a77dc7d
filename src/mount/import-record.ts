import { type FileHandle, mkdir, open, readdir, stat, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { readRegularFile } from "../regular-file.js";
import { syncDirectory } from "../snapshot/journal.js";
import { holdJournal } from "../snapshot/lock.js";
import { unwritable } from "../unwritable.js";
import { isLocked } from "./session-list.js";
import { isSessionId, newSessionId, type StatePaths } from "./state-paths.js";

/** A record has some hundred bytes: what is larger is none of ours. */
const RECORD_BYTES_MAX = 64 * 1024;
const ENDING = ".import";
/** A record has its lock and its first line within milliseconds: one without them after an hour will never have them. */
const TORN_MS = 3_600_000;

const factsSchema = z.object({
  /** URL of the pool. */
  url: z.string(),
  /** The pool's id of the task that the import runs in. */
  task: z.string(),
  /** Path of the backup, for people. */
  backup: z.string(),
  started: z.iso.datetime(),
});
export type ImportFacts = z.infer<typeof factsSchema>;

/**
 * How far it has come, each a line behind the facts: "sent" stands there before what could be the archive's last piece is
 * sent, so that without it the server cannot have had the whole archive; "failed" once the server has said so.
 */
const STEPS = ["sent", "failed"] as const;
export type ImportStep = (typeof STEPS)[number];

/** An import that this host began, as its record tells. */
export interface ImportEntry {
  readonly id: string;
  readonly facts: ImportFacts;
  /** The last step; undefined: it was being sent. */
  readonly step: ImportStep | undefined;
  /** Its process is at work: it holds the lock of the record. */
  readonly isLive: boolean;
}

/**
 * What this host knows of an import that it has begun: if the process dies, what the import left on the server can be
 * found. A file in `state.dir`, locked by the process; its name is on disk before the first byte is sent.
 */
export class ImportRecord implements AsyncDisposable {
  readonly #path: string;
  readonly #file: FileHandle;

  private constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  /** @throws VmmountError "space" on a full disk, ConfigError when the system refuses for another reason */
  static async create(paths: StatePaths, facts: ImportFacts): Promise<ImportRecord> {
    await paths.prepare();
    const path = join(paths.imports, `${newSessionId()}${ENDING}`);
    const file = await makeFile(path).catch((error: unknown) => {
      throw unwritable({ doing: `keep a record of the import in "${paths.imports}"`, setting: "state.dir" }, error);
    });
    const record = new ImportRecord(path, file);
    try {
      await holdJournal(file.fd);
      await record.#append(JSON.stringify(facts));
      await syncDirectory(paths.imports);
      return record;
    } catch (error) {
      await record.erase();
      await record[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Resolves when the step is on disk. @throws as `create` does */
  async note(step: ImportStep): Promise<void> {
    await this.#append(step);
  }

  /** The import has ended, and left nothing that nobody knows of. */
  async erase(): Promise<void> {
    await unlink(this.#path);
  }

  /** Lets go of it: what was not erased is there for `vmmount gc`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file.close();
  }

  async #append(line: string): Promise<void> {
    try {
      // A write alone may end where the disk does, and say so only by a count.
      await this.#file.appendFile(`${line}\n`);
      await this.#file.datasync();
    } catch (error) {
      throw unwritable({ doing: `write "${this.#path}"`, setting: "state.dir" }, error);
    }
  }
}

async function makeFile(path: string): Promise<FileHandle> {
  await mkdir(dirname(path), { mode: 0o700 }).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  });
  return await open(path, "ax", 0o600);
}

/** Every import of this host that has not ended as it should, oldest first. */
export async function listImports(paths: StatePaths): Promise<ImportEntry[]> {
  const entries = await Promise.all((await recordIds(paths)).map((id) => readEntry(paths, id)));
  return entries
    .filter((entry) => entry !== undefined)
    .sort((a, b) => a.facts.started.localeCompare(b.facts.started) || a.id.localeCompare(b.id));
}

/** Of files alone: a link, a folder or a socket of such a name is none of ours. */
async function recordIds(paths: StatePaths): Promise<string[]> {
  const found = await readdir(paths.imports, { withFileTypes: true }).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  });
  const names = found.filter((entry) => entry.isFile()).map(({ name }) => name);
  const ids = names.filter((name) => name.endsWith(ENDING)).map((name) => name.slice(0, -ENDING.length));
  return ids.filter(isSessionId);
}

/** Forgets imports that died before their first line was on disk: nothing was sent by then. */
export async function eraseTornImports(paths: StatePaths): Promise<void> {
  const readable = new Set((await listImports(paths)).map(({ id }) => id));
  for (const id of await recordIds(paths)) {
    const path = join(paths.imports, `${id}${ENDING}`);
    const { mtimeMs = Infinity } = (await stat(path).catch(() => undefined)) ?? {};
    const isOld = mtimeMs < Date.now() - TORN_MS;
    if (!readable.has(id) && isOld && (await isLocked(path)) === false) await eraseImport(paths, id);
  }
}

/** One that is gone is success. */
export async function eraseImport(paths: StatePaths, id: string): Promise<void> {
  await unlink(join(paths.imports, `${id}${ENDING}`)).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  });
}

/** Undefined when it has ended meanwhile, or died before its first line was on disk: then nothing was sent. */
async function readEntry(paths: StatePaths, id: string): Promise<ImportEntry | undefined> {
  const path = join(paths.imports, `${id}${ENDING}`);
  const isLive = await isLocked(path);
  if (isLive === undefined) return undefined;
  const text = await readRegularFile(path, RECORD_BYTES_MAX).then(String, () => "");
  // What stands behind the last line end was torn by a crash.
  const [first = "", ...others] = text.split("\n").slice(0, -1);
  try {
    const facts = factsSchema.safeParse(JSON.parse(first)).data;
    const step = STEPS.findLast((one) => others.includes(one));
    return facts === undefined ? undefined : { id, facts, step, isLive };
  } catch {
    return undefined;
  }
}
