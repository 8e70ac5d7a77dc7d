import { AuthError, DiskIoError, IntegrityError, NotFoundError, type VmmountError } from "../errors.js";
import { retry } from "../retry.js";
import { KIB, bytes, type Bytes } from "../units.js";
import { type DatastorePath, folderUrl, formatDatastorePath, type NameEncoding } from "./datastore-path.js";
import type { HttpAnswer } from "../https/http-exchange.js";
import type { HeaderReader, HttpClient, HttpRequest } from "../https/http-client.js";
import type { VsphereLimits } from "./limits.js";
import { type Session, SessionExpired } from "./session.js";
import { BUSY_STATUSES } from "./soap-client.js";

/** A file as the `/folder` service finds it. */
export interface DatastoreFile {
  readonly path: DatastorePath;
  /** Compulsory on vCenter. */
  readonly datacenterPath: string | undefined;
}

/** What is kept of an error page. */
const ERROR_BODY_BYTES_MAX = 64 * KIB;
/** Small files have nobody above that retries; a busy host answers 500 or 503 for some seconds. */
const SMALL_FILE_RETRY = { retriesMax: 3, delayMs: 500, delayMsMax: 4_000 };

type Exchange = Pick<HttpRequest, "method" | "bodyBytesMax"> & Partial<Pick<HttpRequest, "headers" | "target">>;

/** Reads datastore files over HTTPS with the session's cookie. */
export class DatastoreClient {
  readonly #http: HttpClient;
  readonly #session: Session;
  readonly #limits: VsphereLimits;
  /** Tried first where none is proven. */
  #encoding: NameEncoding;
  /** What worked, by datacenter and datastore, where the two encodings differ. */
  readonly #proven = new Map<string, NameEncoding>();

  constructor(http: HttpClient, session: Session, limits: VsphereLimits) {
    this.#http = http;
    this.#session = session;
    this.#limits = limits;
    this.#encoding = session.content.about.isVcenter ? "twice" : "once";
  }

  /** @throws NotFoundError, AuthError, DiskIoError */
  async size(file: DatastoreFile, signal: AbortSignal): Promise<Bytes> {
    return this.#retried(async () => {
      const answer = await this.#request(file, { method: "HEAD", bodyBytesMax: 0 }, signal);
      if (answer.status !== 200) throw statusError(answer.status, file);
      const length = answer.header("content-length") ?? "";
      if (answer.header("content-type")?.startsWith("text/html") === true || !/^\d{1,15}$/.test(length)) {
        throw new NotFoundError(`Cannot read ${shown(file)}: the server shows no file of that name`);
      }
      return bytes(Number(length));
    }, signal);
  }

  /**
   * A whole small file.
   * @throws NotFoundError, AuthError, DiskIoError; IntegrityError when it is larger than `bytesMax`
   */
  async readSmall(file: DatastoreFile, bytesMax: number, signal: AbortSignal): Promise<Uint8Array> {
    return this.#retried(async () => {
      const answer = await this.#request(file, { method: "GET", bodyBytesMax: bytesMax }, signal);
      if (answer.status !== 200) throw statusError(answer.status, file);
      return answer.body;
    }, signal);
  }

  /**
   * Fills `into` from `at`, in one request, without retrying.
   * @throws IntegrityError when the file no longer has `size` bytes, or the server answers another range
   */
  async readRange(file: DatastoreFile, size: Bytes, into: Uint8Array, at: Bytes, signal: AbortSignal): Promise<void> {
    if (at + into.length > size) throw new RangeError(`Cannot read ${into.length} bytes at ${at}: the size is ${size}`);
    if (into.length === 0) return;
    const last = at + into.length - 1;
    const answer = await this.#request(
      file,
      {
        method: "GET",
        headers: { range: `bytes=${at}-${last}`, "accept-encoding": "identity" },
        bodyBytesMax: ERROR_BODY_BYTES_MAX,
        target: (status, header) => rangeTarget(file, size, into, at, status, header),
      },
      signal,
    );
    if (answer.status !== 206 && answer.status !== 200) throw statusError(answer.status, file);
    if (answer.filled !== into.length) {
      throw new DiskIoError(`Cannot read ${shown(file)}: ${answer.filled} of ${into.length} bytes came at ${at}`, {
        retryable: true,
      });
    }
  }

  async #retried<T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
    return retry(attempt, { policy: SMALL_FILE_RETRY, signal });
  }

  /**
   * Logs in again on 401. On 404 tries the other encoding of the names, until one of them has worked for this
   * datacenter and datastore: from then on a 404 is a missing file, since the other URL may mean another datastore.
   */
  async #request(file: DatastoreFile, exchange: Exchange, signal: AbortSignal): Promise<HttpAnswer> {
    return this.#session.run(async () => {
      const names = JSON.stringify([file.datacenterPath, file.path.datastore]);
      const first = this.#proven.get(names) ?? this.#encoding;
      const other: NameEncoding = first === "once" ? "twice" : "once";
      const isSameUrl =
        folderUrl(file.path, file.datacenterPath, other) === folderUrl(file.path, file.datacenterPath, first);
      const answer = await this.#send(file, first, exchange, signal);
      if (isSameUrl) return answer;
      if (isFile(answer)) this.#prove(names, first);
      // Another request may have proven one meanwhile.
      if (answer.status !== 404 || this.#proven.get(names) === first) return answer;
      const second = await this.#send(file, other, exchange, signal);
      if (this.#proven.get(names) === first) return answer;
      if (isFile(second)) this.#prove(names, other);
      return second;
    }, signal);
  }

  #prove(names: string, encoding: NameEncoding): void {
    if (this.#proven.has(names)) return;
    this.#proven.set(names, encoding);
    this.#encoding = encoding;
  }

  async #send(
    file: DatastoreFile,
    encoding: NameEncoding,
    exchange: Exchange,
    signal: AbortSignal,
  ): Promise<HttpAnswer> {
    const answer = await this.#http.request({
      ...exchange,
      lane: "data",
      path: folderUrl(file.path, file.datacenterPath, encoding),
      headers: { ...exchange.headers, ...this.#session.cookies.headers() },
      signal,
      stallMs: this.#limits.dataStallMs,
    });
    if (answer.status === 401) throw new SessionExpired("the datastore service does not know the session");
    return answer;
  }
}

/** An answer with a file's bytes or size: a page of HTML with status 200 proves nothing. */
function isFile({ status, header }: HttpAnswer): boolean {
  return (status === 200 || status === 206) && header("content-type")?.startsWith("text/html") !== true;
}

/** Checks the head of a range answer before one byte of it reaches the caller's buffer. */
function rangeTarget(
  file: DatastoreFile,
  size: Bytes,
  into: Uint8Array,
  at: Bytes,
  status: number,
  header: HeaderReader,
): Uint8Array | Error | undefined {
  const coding = header("content-encoding") ?? "identity";
  if (status < 300 && coding !== "identity") {
    return new IntegrityError(`Cannot read ${shown(file)}: the server sent it ${coding}-coded, unasked`);
  }
  if (status === 206) {
    const range = header("content-range") ?? "";
    const expected = `bytes ${at}-${at + into.length - 1}/${size}`;
    if (range === expected) return into;
    return new IntegrityError(`Cannot read ${shown(file)}: the server sent "${range}" in place of "${expected}"`);
  }
  if (status !== 200) return undefined;
  // Without range support the answer is the whole file: right only when all of it was asked for.
  if (at === 0 && into.length === size && Number(header("content-length") ?? size) === size) return into;
  return new IntegrityError(`Cannot read ${shown(file)}: the server ignores the Range header`);
}

export function shown(file: DatastoreFile): string {
  return formatDatastorePath(file.path);
}

function statusError(status: number, file: DatastoreFile): VmmountError {
  const action = `Cannot read ${shown(file)}`;
  if (status === 404 || status === 410) return new NotFoundError(`${action}: no such file (HTTP ${status})`);
  if (status === 403) {
    return new AuthError(`${action}: the account may not read datastore files (HTTP 403)`, {
      hint: "Grant Datastore.Browse and Datastore.FileManagement on the datastore and its datacenter",
    });
  }
  if (status === 416) return new IntegrityError(`${action}: the file has become shorter (HTTP 416)`);
  if (BUSY_STATUSES.includes(status)) {
    return new DiskIoError(`${action}: the server is busy (HTTP ${status})`, { retryable: true });
  }
  if (status === 500) {
    return new DiskIoError(`${action}: the file is locked or the host cannot read it (HTTP 500)`, { retryable: true });
  }
  return new DiskIoError(`${action}: the server answered HTTP ${status}`);
}
