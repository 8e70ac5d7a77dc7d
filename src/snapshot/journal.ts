import { type FileHandle, mkdir, open, readFile, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { IntegrityError } from "../errors.js";
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

/** What one snapshot session did and is about to do. */
export interface Journal extends AsyncDisposable {
  /** Resolves when the record is on disk. */
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
  #tail: Promise<void> = Promise.resolve();

  private constructor(path: string, session: string, file: FileHandle, next: number) {
    this.#path = path;
    this.#session = session;
    this.#file = file;
    this.#next = next;
  }

  /**
   * Makes the journal of a new session, mode 0600 in a 0700 directory, and holds its lock for as long as it is open;
   * the name is on disk when it resolves.
   */
  static async create(path: string, session: string): Promise<FileJournal> {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    const file = await open(path, "ax+", 0o600);
    try {
      await holdJournal(file.fd);
      await syncDirectory(dirname(path));
      return new FileJournal(path, session, file, 0);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /**
   * Opens the journal of a session whose process is gone, to go on with it.
   * @throws BusyError when its process lives after all, IntegrityError when it is damaged
   */
  static async open(path: string, session: string): Promise<FileJournal> {
    const file = await open(path, "a+");
    try {
      await holdJournal(file.fd);
      const records = await readJournal(path);
      // A torn last record would swallow the next one: cut it off.
      await file.truncate(records.reduce((sum, record) => sum + Buffer.byteLength(encodeRecord(record)), 0));
      return new FileJournal(path, session, file, (records.at(-1)?.seq ?? -1) + 1);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  append(event: JournalEvent): Promise<void> {
    const written = this.#tail.then(async () => {
      const line = encodeRecord({
        v: JOURNAL_VERSION,
        seq: this.#next,
        session: this.#session,
        time: new Date().toISOString(),
        ...event,
      });
      await this.#file.appendFile(line);
      await this.#file.datasync();
      this.#next++;
    });
    // The caller gets the failure; the next append must not fail because of it.
    this.#tail = written.catch(() => undefined);
    return written;
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
 * @throws IntegrityError when a record other than the last is damaged or out of sequence
 */
export async function readJournal(path: string): Promise<JournalRecord[]> {
  const text = await readFile(path, "utf8");
  if (text.length > JOURNAL_BYTES_MAX) throw new IntegrityError(`Cannot read journal "${path}": it is too large`);
  const lines = text.split("\n");
  const torn = lines.pop() ?? "";
  const records: JournalRecord[] = [];
  for (const [index, line] of lines.entries()) {
    const record = decodeRecord(line);
    // Blocks of a torn write may reach the disk out of order: the newline without the bytes before it.
    if (record === undefined && index === lines.length - 1 && torn === "") break;
    if (record?.seq !== index) throw new IntegrityError(`Cannot read journal "${path}": record ${index} is damaged`);
    records.push(record);
  }
  return records;
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
