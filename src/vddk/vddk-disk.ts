import koffi from "koffi";
import {
  DiskIoError,
  errorChain,
  IntegrityError,
  MissingCapabilityError,
  UsageError,
  VmmountError,
} from "../errors.js";
import type { AllocationExtent } from "../nbd/transmission.js";
import { NbdServerError, type ServedDisk } from "../nbd/server/served-disk.js";
import { bytes, type Bytes, SECTOR_BYTES } from "../units.js";
import { alignedBytes } from "./aligned-bytes.js";
import { AllocatedBlocks } from "./allocated-blocks.js";
import { type Completions, DiskRequests, hasAsync, type Transfer } from "./disk-requests.js";
import type { Gate } from "./gate.js";
import { type DiskRequest, REQUEST_BYTES_MAX } from "./host-protocol.js";
import { Info, InfoSectorSizes, OPEN_READ_ONLY, OPEN_UNBUFFERED } from "./layouts.js";
import type { Pointer, Vddk } from "./library.js";
import { RequestDepth } from "./request-depth.js";
import { toldError } from "./told-error.js";
import { translatedVix, vixCodeOf, type VixError, VIX_OK } from "./vix-error.js";
import type { VddkConnection, VddkConnections } from "./vddk-connections.js";

/** Codes after which the disk is opened anew: memory, busy, connections and logins that were lost. */
const WORTH_REOPENING: readonly number[] = [2, 5, 14, 31, 34, 35, 36, 14006, 14007, 14008, 14009, 14010, 14011, 18000];
/** Codes that say that we ask for too much at a time. */
const TOO_MUCH: readonly number[] = [2, 14009];
/** Of WORTH_REOPENING: memory and busy. A disk that is written goes on with these, and is lost with the others. */
const PASSING: readonly number[] = [2, 5];
/** The transport that wants aligned memory of whoever writes. */
const ATTACHING = "hotadd";
/** Of a disk: with the sector sizes behind the rest since 7.0. */
const VERSION_WITH_SECTOR_SIZES = 7;

export interface VddkDiskParts {
  readonly vddk: Vddk;
  readonly majorVersion: number;
  readonly connections: VddkConnections;
  readonly completions: Completions;
  /** Opening and closing wait for all reads of all disks. */
  readonly gate: Gate;
  /** Requests that the library has of each disk at a time. */
  readonly depth: number;
  readonly riseAfterMs: number;
  readonly note: (level: "info" | "warn", text: string) => void;
  /** A disk that was lost was opened again, or was not, with the login of that turn. */
  readonly onReopened: (turn: number, failure: unknown) => void;
}

/**
 * An open disk of the library's. After an error that may pass, one that is read is opened anew before the next read. One that is
 * written is lost then: what was written since the last flush may be, and whoever writes must not believe otherwise.
 */
export class VddkDisk implements ServedDisk {
  readonly name: string;
  readonly size: Bytes;
  readonly blockBytes: ServedDisk["blockBytes"];
  readonly write?: (data: Uint8Array, at: Bytes) => Promise<void>;
  readonly flush?: () => Promise<void>;
  /** Also absent of a disk that is written: what was a hole may be none any more. */
  readonly extents?: (at: Bytes, length: number) => Promise<readonly AllocationExtent[]>;
  readonly #parts: VddkDiskParts;
  readonly #request: DiskRequest;
  readonly #requests: DiskRequests;
  readonly #depth: RequestDepth;
  /** Undefined between a failure and the next time that opening succeeds. */
  #open: Opened | undefined;
  #reopening: Promise<void> | undefined;
  #triedAfterFail = false;
  /** For good: what still fails does not open it again. */
  #isClosed = false;

  private constructor(parts: VddkDiskParts, request: DiskRequest, opened: Opened) {
    this.#parts = parts;
    this.#request = request;
    this.#open = opened;
    this.#depth = new RequestDepth(hasAsync(parts.vddk) ? parts.depth : 1, parts.riseAfterMs);
    this.#requests = new DiskRequests(parts.vddk, parts.completions, this.#depth);
    this.name = request.name;
    this.size = opened.size;
    this.blockBytes = {
      minimum: opened.sectorBytes,
      preferred: Math.max(4096, opened.sectorBytes),
      maximum: REQUEST_BYTES_MAX,
    };
    if (opened.allocated !== undefined) {
      this.extents = (at, length) => this.#askExtents(at, length);
    }
    if (request.access === "read-write") {
      this.write = (data, at) => this.#write(data, at);
      if (parts.vddk.has("Flush")) this.flush = () => this.#flush();
    }
  }

  /**
   * Opens over exactly this mode.
   * @throws MissingCapabilityError when the library took another one; VmmountError for its errors
   */
  static async open(parts: VddkDiskParts, request: DiskRequest): Promise<{ disk: VddkDisk; links: number }> {
    const opened = await parts.gate.alone(() => openHandle(parts, request));
    return { disk: new VddkDisk(parts, request, opened), links: opened.links };
  }

  async read(into: Uint8Array, at: Bytes): Promise<void> {
    await this.#parts.gate
      .together(async () => {
        const open = this.#open;
        if (open === undefined) throw new Error("the disk could not be opened again yet");
        const error = await this.#transfer(open, "read", into, at);
        if (error.code === VIX_OK) {
          this.#triedAfterFail = false;
          return;
        }
        this.#consider(error.code, open);
        throw this.#translated(`Cannot read ${into.length} bytes at ${at} of "${this.#request.path}"`, error);
      })
      .catch(async (failure: unknown) => {
        // Not inside of the gate, which opening waits for.
        if (this.#open === undefined && !this.#isClosed) await this.#reopen();
        throw failure;
      });
  }

  async #write(data: Uint8Array, at: Bytes): Promise<void> {
    await this.#change(`Cannot write ${data.length} bytes at ${at} of`, (open) =>
      this.#transfer(open, "write", data, at),
    );
  }

  async #flush(): Promise<void> {
    await this.#change("Cannot flush", ({ handle }) => this.#requests.flush(handle));
  }

  /** @throws NbdServerError */
  async #change(action: string, change: (open: Opened) => Promise<VixError>): Promise<void> {
    const { path } = this.#request;
    await this.#parts.gate.together(async () => {
      const open = this.#open;
      if (open === undefined) throw new Error(`${action} "${path}": it was lost, and must be opened again`);
      const error = await change(open);
      if (error.code === VIX_OK) return;
      this.#consider(error.code, open);
      const cause = this.#translated(`${action} "${path}"`, error);
      throw new NbdServerError(toldError(error), errorChain(cause), { cause });
    });
  }

  async #transfer(open: Opened, kind: Transfer["kind"], data: Uint8Array, at: Bytes): Promise<VixError> {
    this.#askMore();
    const sectors = { kind, startSector: at / SECTOR_BYTES, sectorCount: data.length / SECTOR_BYTES };
    if (!open.isUnbuffered) return await this.#requests.transfer(open.handle, { ...sectors, data });
    const aligned = alignedBytes(data.length, open.sectorBytes);
    if (kind === "write") aligned.set(data);
    const error = await this.#requests.transfer(open.handle, { ...sectors, data: aligned });
    if (kind === "read" && error.code === VIX_OK) data.set(aligned);
    return error;
  }

  #translated(action: string, error: VixError): VmmountError {
    return translatedVix(action, error, this.#parts.vddk.errorText(error.code));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#parts.gate.alone(() => {
      if (this.#open !== undefined) closeDisk(this.#parts, this.#open);
      this.#open = undefined;
    });
  }

  async #askExtents(at: Bytes, length: number): Promise<readonly AllocationExtent[]> {
    let failure = await this.#tryExtents(at, length);
    if (failure instanceof VmmountError && this.#open === undefined && !this.#isClosed) {
      await this.#reopen();
      failure = await this.#tryExtents(at, length);
    }
    if (!(failure instanceof VmmountError)) return failure;
    // Reading what may be a hole is slow and right; failing the mount would be neither.
    this.#parts.note(
      "warn",
      `${length} bytes from ${at} on of "${this.#request.path}" count as data: ${errorChain(failure)}`,
    );
    return [{ length, flags: 0 }];
  }

  async #tryExtents(at: Bytes, length: number): Promise<readonly AllocationExtent[] | VmmountError> {
    return await this.#parts.gate.together(async () => {
      const open = this.#open;
      if (open === undefined) return new DiskIoError("the disk could not be opened again");
      const { handle, allocated } = open;
      if (allocated === undefined) return new DiskIoError("the library does not tell holes any more");
      try {
        return await this.#requests.inTurn(() => allocated.extents(handle, at, length));
      } catch (error) {
        if (!(error instanceof VmmountError)) throw error;
        const code = vixCodeOf(error);
        if (code !== undefined) this.#consider(code, open);
        return error;
      }
    });
  }

  #askLess(code: number | undefined): void {
    if (code === undefined || !TOO_MUCH.includes(code)) return;
    const before = this.#depth.value;
    // Also of one at a time: who refuses even that is not asked for more yet.
    this.#depth.lower();
    if (this.#depth.value === before) return;
    this.#parts.note(
      "warn",
      `"${this.#request.path}" is read with ${this.#depth.value} requests at a time from now on`,
    );
  }

  #askMore(): void {
    // A read that is refused is repeated; who writes is not to find out what the host can take.
    if (this.write !== undefined || !this.#depth.rise()) return;
    this.#parts.note("info", `"${this.#request.path}" is read with ${this.#depth.value} requests at a time again`);
  }

  #consider(code: number, failed: Opened): void {
    this.#askLess(code);
    // "Fail" may be anything: worth one try.
    const isWritten = this.write !== undefined;
    if (isWritten && PASSING.includes(code)) return;
    const isWorth = WORTH_REOPENING.includes(code) || (code === 1 && !this.#triedAfterFail);
    if (code === 1) this.#triedAfterFail = true;
    if (!isWorth || this.#open !== failed) return;
    if (isWritten) this.#lose();
    this.#closeLater(failed);
  }

  #lose(): void {
    this.#isClosed = true;
    this.#parts.note("warn", `"${this.#request.path}" was lost while it was written: it must be opened again`);
  }

  /** Others may still read with it: it is closed when they have ended, and nobody begins with it any more. */
  #closeLater(failed: Opened): void {
    const { gate, connections } = this.#parts;
    this.#open = undefined;
    // The login may be what was lost.
    connections.supersede(failed.connection);
    void gate.alone(() => {
      closeDisk(this.#parts, failed);
    });
  }

  async #reopen(): Promise<void> {
    this.#reopening ??= this.#openAgain().finally(() => {
      this.#reopening = undefined;
    });
    await this.#reopening;
  }

  async #openAgain(): Promise<void> {
    const { gate, note, connections, onReopened } = this.#parts;
    const { path, mode } = this.#request;
    let { turn } = connections;
    try {
      await gate.alone(async () => {
        if (this.#open !== undefined || this.#isClosed) return;
        turn = connections.turn;
        const opened = await openHandle(this.#parts, this.#request);
        if (opened.size !== this.size) {
          closeDisk(this.#parts, opened);
          throw new IntegrityError(`it has ${opened.size} bytes now, and had ${this.size}`);
        }
        this.#open = opened;
      });
      onReopened(turn, undefined);
      note("info", `Opened "${path}" again over ${mode}`);
    } catch (error) {
      note("warn", `Cannot open "${path}" again over ${mode}: ${errorChain(error)}`);
      if (error instanceof VmmountError) this.#askLess(vixCodeOf(error));
      onReopened(turn, error);
    }
  }
}

interface Opened {
  readonly connection: VddkConnection;
  readonly handle: Pointer;
  readonly size: Bytes;
  readonly sectorBytes: number;
  readonly links: number;
  readonly allocated: AllocatedBlocks | undefined;
  /** It takes aligned memory only. */
  readonly isUnbuffered: boolean;
}

/** @throws VmmountError */
async function openHandle(parts: VddkDiskParts, request: DiskRequest): Promise<Opened> {
  const { vddk, connections } = parts;
  const { path, mode, access, snapshot } = request;
  const isWritten = access === "read-write";
  if (isWritten && snapshot !== undefined) {
    throw new UsageError(`Cannot open "${path}" for writing: what ${snapshot} has frozen is never written`);
  }
  const isUnbuffered = isWritten && mode === ATTACHING;
  const flags = isWritten ? (isUnbuffered ? OPEN_UNBUFFERED : 0) : OPEN_READ_ONLY;
  const connection = connections.use(request);
  const out: [Pointer] = [null];
  try {
    const result = vddk.call("Open", connection.pointer, path, flags, out);
    vddk.check(`Cannot open "${path}" over ${mode}`, result);
    const [handle] = out;
    // It takes nbdssl where what was asked for is not there, and says nothing.
    const taken = vddk.call("GetTransportMode", handle) as string;
    if (taken !== mode) {
      throw new MissingCapabilityError(`Cannot open "${path}" over ${mode}: the library took ${taken} instead`);
    }
    const info = readInfo(parts, handle);
    const allocated = isWritten ? undefined : await AllocatedBlocks.probe(vddk, handle, info.size);
    return { connection, handle, ...info, allocated, isUnbuffered };
  } catch (error) {
    closeDisk(parts, { connection, handle: out[0] });
    throw error;
  }
}

function readInfo(
  { vddk, majorVersion }: VddkDiskParts,
  handle: Pointer,
): Pick<Opened, "size" | "sectorBytes" | "links"> {
  const out: [Pointer] = [null];
  vddk.check("Cannot ask for the size of a disk", vddk.call("GetInfo", handle, out));
  const [pointer] = out;
  try {
    const info = koffi.decode(pointer, Info) as { readonly capacity: number | bigint; readonly numLinks: number };
    const size = bytes(Number(info.capacity) * SECTOR_BYTES);
    if (majorVersion < VERSION_WITH_SECTOR_SIZES) return { size, links: info.numLinks, sectorBytes: SECTOR_BYTES };
    const sizes = koffi.decode(pointer, koffi.sizeof(Info), InfoSectorSizes) as { readonly logicalSectorSize: number };
    return { size, links: info.numLinks, sectorBytes: sizes.logicalSectorSize === 4096 ? 4096 : SECTOR_BYTES };
  } finally {
    vddk.call("FreeInfo", pointer);
  }
}

/** The handle, if there is one, and the connection with its last disk. */
function closeDisk(
  { vddk, connections }: VddkDiskParts,
  { connection, handle }: Pick<Opened, "connection" | "handle">,
): void {
  if (handle !== null) {
    if (vddk.has("Wait")) vddk.call("Wait", handle);
    vddk.call("Close", handle);
  }
  connections.release(connection);
}
