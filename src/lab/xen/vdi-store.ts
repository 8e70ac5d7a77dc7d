import { createHash } from "node:crypto";
import { statSync } from "node:fs";
import { mkdir, open, rm, type FileHandle } from "node:fs/promises";
import { dirname, join } from "node:path";
import pLimit, { type LimitFunction } from "p-limit";
import { allocatedRanges } from "../disk/allocation.js";
import { runProgram } from "../init/program.js";
import type { Range } from "../ranges.js";
import type { Database } from "./database/database.js";
import { XapiFault } from "./fault.js";
import { textOf } from "./value.js";

/** Bytes per piece when a whole disk is read. */
const PIECE_BYTES = 1024 * 1024;

/** The bytes of the disks: one sparse raw file per VDI, `SR-FOLDER/VDI-UUID.raw`. */
export class VdiStore {
  readonly #directory: string;
  readonly #database: Database;
  /** Folder by uuid of the SR. */
  readonly #folders: ReadonlyMap<string, string>;
  /** Guests write while nobody copies. */
  readonly #locks = new Map<string, LimitFunction>();

  constructor(directory: string, database: Database, folders: ReadonlyMap<string, string>) {
    this.#directory = directory;
    this.#database = database;
    this.#folders = folders;
  }

  /** Absolute path of the raw file. @throws XapiFault HANDLE_INVALID */
  path(vdi: string): string {
    const row = this.#database.row("VDI", vdi);
    const sr = this.#database.text("SR", textOf(row["SR"]), "uuid");
    return join(this.#directory, this.#folders.get(sr) ?? `SR/${sr}`, `${textOf(row["uuid"])}.raw`);
  }

  size(vdi: string): number {
    return Number(this.#database.row("VDI", vdi)["virtual_size"]);
  }

  /** Makes the file of a VDI whose object is there. */
  async make(vdi: string): Promise<void> {
    const path = this.path(vdi);
    await mkdir(dirname(path), { recursive: true });
    await using file = await open(path, "wx", 0o600);
    await file.truncate(this.size(vdi));
  }

  /** A sparse copy; nothing is written to the original meanwhile. The object of `to` is there, its file is not. */
  async copy(from: string, to: string): Promise<void> {
    const [source, target] = [this.path(from), this.path(to)];
    await this.#alone(from, async () => {
      await mkdir(dirname(target), { recursive: true });
      await runProgram("cp", ["--reflink=auto", "--sparse=always", "--", source, target], "coreutils");
    });
  }

  async resize(vdi: string, bytes: number): Promise<void> {
    await using file = await open(this.path(vdi), "r+");
    await file.truncate(bytes);
  }

  async remove(path: string): Promise<void> {
    await rm(path, { force: true });
  }

  /** The caller closes it. */
  open(vdi: string, flags: "r" | "r+" = "r"): Promise<FileHandle> {
    return open(this.path(vdi), flags);
  }

  /** @throws XapiFault VDI_IO_ERROR beyond the end */
  async write(vdi: string, offset: number, bytes: Uint8Array): Promise<void> {
    if (offset < 0 || offset + bytes.length > this.size(vdi)) throw new XapiFault("VDI_IO_ERROR", "Device I/O error");
    await this.#alone(vdi, async () => {
      await using file = await this.open(vdi, "r+");
      await file.write(bytes, 0, bytes.length, offset);
    });
  }

  /** Allocated ranges, sorted; the whole disk when the file system does not tell. */
  async allocated(vdi: string): Promise<readonly Range[]> {
    await using file = await this.open(vdi);
    return (await allocatedRanges(this.path(vdi), file)) ?? [{ start: 0, length: this.size(vdi) }];
  }

  /** Bytes that the file takes on disk; 0 while there is none. */
  usedBytes(vdi: string): number {
    const stat = statSync(this.path(vdi), { throwIfNoEntry: false });
    return stat === undefined ? 0 : stat.blocks * 512;
  }

  /** SHA-256 of the whole disk, in hex. */
  async hash(vdi: string): Promise<string> {
    await using file = await this.open(vdi);
    const hash = createHash("sha256");
    const piece = Buffer.alloc(PIECE_BYTES);
    for (;;) {
      const { bytesRead } = await file.read(piece, 0, piece.length);
      if (bytesRead === 0) return hash.digest("hex");
      hash.update(piece.subarray(0, bytesRead));
    }
  }

  #alone<T>(vdi: string, run: () => Promise<T>): Promise<T> {
    const lock = this.#locks.get(vdi) ?? pLimit(1);
    this.#locks.set(vdi, lock);
    return lock(run);
  }
}
