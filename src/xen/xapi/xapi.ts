import type { TlsTrust } from "../../https/tls.js";
import type { CallOptions, TaskOptions } from "../../hypervisor.js";
import type { Bytes } from "../../units.js";
import type { XapiValue } from "./value.js";

export interface PoolFacts {
  readonly uuid: string;
  /** May be empty: a host alone is a pool without a name. */
  readonly name: string;
  /** Such as "XCP-ng 8.2.1". */
  readonly product: string;
  /** The product's version: "8.2.1". */
  readonly version: string;
  /** Of the API's implementation: 1.20 for every product from 7.3 to 8.2. */
  readonly xapi: XapiVersion;
}

export interface XapiVersion {
  readonly major: number;
  readonly minor: number;
}

export interface XenHost {
  readonly ref: string;
  readonly uuid: string;
  readonly name: string;
  /** The management address: IPv4, IPv6 without brackets, or a name. */
  readonly address: string;
  readonly isLive: boolean;
}

/** The answer of an HTTP handler while it comes. */
export interface XenDownload {
  /** From Content-Length, which only `/export_metadata` sends. */
  readonly length: Bytes | undefined;
  /** Once; leaving the loop early ends the transfer. A chunk stays valid. @throws XapiFault, UnreachableError */
  readonly body: AsyncIterable<Uint8Array>;
  /** Waits for the server's task, which alone says whether the bytes were good. @throws XapiFault */
  finished(): Promise<void>;
  /** Ends the transfer, on the server too: its task is cancelled and nothing stays attached. Never throws. */
  [Symbol.asyncDispose](): Promise<void>;
}

export interface XenUploadBody {
  readonly length: Bytes;
  readonly chunks: AsyncIterable<Uint8Array>;
}

export interface TaskCall extends TaskOptions {
  /** What the user waits for: "Creating snapshot". */
  readonly what: string;
  /** What an abort does to the task on the server; "cancel" unless said otherwise. */
  readonly onAbort?: "cancel" | "leave";
  /** Of a transfer's task: what others may read there. */
  readonly description?: string | undefined;
  /** Hears the reference of a transfer's task, and is waited for, before the first byte: what it makes on the server may carry it. */
  readonly onBegun?: ((task: string) => Promise<void>) | undefined;
}

/**
 * The API of one pool, logged in. Failures that XAPI reports are thrown as XapiFault, for callers who look at the code;
 * `translating` (fault-errors.ts) makes them errors for the user at the border. Failures of the network are UnreachableError.
 */
export interface Xapi extends AsyncDisposable {
  readonly facts: PoolFacts;

  /**
   * One call; the session is put in front. Repeated after a new login when the session has ended, and on the new master
   * when it has moved. When the answer is lost, only calls that change nothing are repeated.
   * @throws XapiFault, UnreachableError
   */
  call(method: string, args: readonly XapiValue[], options: CallOptions): Promise<XapiValue>;

  /**
   * `Async.` + method: waits for the task, reports progress, and removes the task in the end.
   * @returns the task's result: text (a reference, or "" for none) or an array
   * @throws XapiFault with the task's error
   */
  task(method: string, args: readonly XapiValue[], options: TaskCall): Promise<XapiValue>;

  /** Waits for a task that somebody else has begun, and leaves it there. @throws XapiFault with the task's error */
  wait(task: string, options: TaskCall): Promise<XapiValue>;

  /** A session that is valid now, on every host of the pool: for NBD export names. */
  session(options: CallOptions): Promise<string>;

  /** Every pool member, master first, then those that are alive. */
  hosts(options: CallOptions): Promise<readonly XenHost[]>;

  /**
   * GETs what an HTTP handler of one host streams. One redirect to another member is followed.
   * @param path `/export_raw_vdi` …; session and task are added to the query
   */
  download(
    host: XenHost,
    path: string,
    query: Readonly<Record<string, string>>,
    options: TaskCall,
  ): Promise<XenDownload>;

  /** PUTs to an HTTP handler of one host. @returns the task's result @throws XapiFault with the task's error */
  upload(
    host: XenHost,
    path: string,
    query: Readonly<Record<string, string>>,
    body: XenUploadBody,
    options: TaskCall,
  ): Promise<XapiValue>;

  /**
   * What makes a member's certificate trusted, its NBD service included.
   * @throws UnreachableError when it is pinned on the first host only and the member's own cannot be learnt
   */
  trust(host: XenHost): TlsTrust;
}
