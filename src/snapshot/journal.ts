import { constants } from "node:fs";
import { type FileHandle, mkdir, open, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { IntegrityError, NotFoundError } from "../errors.js";
import { openWithoutWaiting, readRegularFile } from "../regular-file.js";
import { unwritable, type UnwritableFile } from "../unwritable.js";
import { holdJournal } from "./lock.js";
import {
  decodeRecord,
  encodeRecord,
  JOURNAL_VERSION,
  type JournalEvent,
  type JournalRecord,
} from "./journal-record.js";

/** A session writes about ten records of a few hundred bytes; a megabyte is not a journal of ours. */
const JOURNAL_BYTES_MAX = 1024 * 1024;

/** More cleaners than this do not come along within milliseconds. */
const MAKING_TRIES_MAX = 3;

/** What one snapshot session did and is about to do. */
export interface Journal extends AsyncDisposable {
  /** Resolves when the record is on disk. @throws VmmountError "space" when that is full */
  append(event: JournalEvent): Promise<void>;
  /** All records in order; a torn last record (a crash in mid-write) is left out. */
  replay(): AsyncIterable<JournalRecord>;
  /** Forgets the session: it left nothing behind. */
  erase(): Promise<void>;
}

/** Append-only file: one record a line, written and flushed to disk one at a time. */
export class FileJournal implements Journal {
  readonly #path: string;
  readonly #session: string;
  readonly #file: FileHandle;
  #next: number;
  /** Bytes of whole records: what a failed write left behind them is cut off before the next one. */
  #length: number;
  #isTorn = false;
  #tail: Promise<void> = Promise.resolve();

  private constructor(path: string, session: string, file: FileHandle, has: { records: number; bytes: number }) {
    this.#path = path;
    this.#session = session;
    this.#file = file;
    this.#next = has.records;
    this.#length = has.bytes;
  }

  /**
   * Makes the journal of a new session, mode 0600 in a 0700 directory, and holds its lock for as long as it is open;
   * the name is on disk when it resolves.
   * @throws VmmountError "space" on a full disk, ConfigError when the system refuses for another reason
   */
  static async create(path: string, session: string): Promise<FileJournal> {
    for (let tries = 1; ; tries++) {
      const file = await makeFile(path);
      try {
        await holdJournal(file.fd);
        await syncDirectory(dirname(path));
        return new FileJournal(path, session, file, { records: 0, bytes: 0 });
      } catch (error) {
        await file.close();
        // Who cleans up may have seen it before it was locked, and taken it for that of a dead session.
        if (!(error instanceof NotFoundError) || tries >= MAKING_TRIES_MAX) throw error;
      }
    }
  }

  /**
   * Opens the journal of a session whose process is gone, to go on with it.
   * @throws BusyError when its process lives after all, IntegrityError when it is damaged, NotFoundError when the
   * session has ended meanwhile
   */
  static async open(path: string, session: string): Promise<FileJournal> {
    const file = await openExisting(path, session);
    try {
      await holdJournal(file.fd);
      const { records, bytes } = await readWhole(path);
      // A torn last record would swallow the next one: cut it off.
      await file.truncate(bytes);
      return new FileJournal(path, session, file, { records: records.length, bytes });
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  append(event: JournalEvent): Promise<void> {
    const written = this.#tail.then(async () => {
      if (this.#isTorn) await this.#file.truncate(this.#length);
      const line = encodeRecord({
        v: JOURNAL_VERSION,
        seq: this.#next,
        session: this.#session,
        time: new Date().toISOString(),
        ...event,
      });
      this.#isTorn = true;
      await this.#write(line);
      this.#isTorn = false;
      this.#length += Buffer.byteLength(line);
      this.#next++;
    });
    // The caller gets the failure; the next append must not fail because of it.
    this.#tail = written.catch(() => undefined);
    return written;
  }

  async #write(line: string): Promise<void> {
    try {
      await this.#file.appendFile(line);
      await this.#file.datasync();
    } catch (error) {
      throw unwritable(inStateDir(`write the journal of session ${this.#session}`, this.#path), error);
    }
  }

  async *replay(): AsyncIterable<JournalRecord> {
    yield* await readJournal(this.#path);
  }

  /** The descriptor stays open, and with it the lock, until the journal is disposed. */
  async erase(): Promise<void> {
    await this.#tail;
    await unlink(this.#path);
    await syncDirectory(dirname(this.#path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#tail;
    await this.#file.close();
  }
}

/**
 * Reads a journal file whole.
 * @throws IntegrityError when it is no file, too large, or a record other than the last is damaged or out of sequence
 */
export async function readJournal(path: string): Promise<JournalRecord[]> {
  return (await readWhole(path)).records;
}

/** The records, and how many bytes of the file they are. */
async function readWhole(path: string): Promise<{ records: JournalRecord[]; bytes: number }> {
  const content = await readRegularFile(path, JOURNAL_BYTES_MAX);
  const records: JournalRecord[] = [];
  let start = 0;
  for (let end = content.indexOf("\n"); end >= 0; end = content.indexOf("\n", start)) {
    const record = decodeRecord(content.toString("utf8", start, end));
    // Blocks of a torn write may reach the disk out of order: the newline without the bytes before it.
    if (record === undefined && end === content.length - 1) break;
    if (record?.seq !== records.length) {
      throw new IntegrityError(`Cannot read journal "${path}": record ${records.length} is damaged`);
    }
    records.push(record);
    start = end + 1;
  }
  return { records, bytes: start };
}

/** With its directory. */
async function makeFile(path: string): Promise<FileHandle> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    return await open(path, "ax+", 0o600);
  } catch (error) {
    throw unwritable(inStateDir("make a journal", path), error);
  }
}

function inStateDir(doing: string, path: string): UnwritableFile {
  return { doing: `${doing} in "${dirname(path)}"`, setting: "state.dir" };
}

/** Never makes one: a session that has ended must not come back as an empty journal. */
async function openExisting(path: string, session: string): Promise<FileHandle> {
  try {
    return await openWithoutWaiting(path, constants.O_RDWR | constants.O_APPEND);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") {
      throw unwritable(inStateDir(`open the journal of session ${session}`, path), error);
    }
    throw new NotFoundError(`Cannot open the journal of session ${session}: the session has ended`, { cause: error });
  }
}

export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
