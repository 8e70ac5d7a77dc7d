import { X509Certificate } from "node:crypto";
import { connect, isIP, type Socket } from "node:net";
import { connect as tlsConnect, type TLSSocket } from "node:tls";
import { IntegrityError, UnreachableError, VmmountError } from "../errors.js";
import { type NbdTarget, type NbdTls, shownTarget } from "./address.js";
import { Receiver } from "./receiver.js";

/** As much as a unix socket holds; one read(2) then empties it. */
const RECEIVE_BYTES = 256 * 1024;

/** In the time of a stall. */
const LOOKS = 4;

export interface ChannelOptions {
  readonly connectMs: number;
  readonly signal: AbortSignal;
}

/** A connected socket: what it brings goes to a receiver, and its end is told once. */
export class Channel {
  readonly receiver = new Receiver();
  readonly #target: NbdTarget;
  #socket: Socket;
  #failure: VmmountError | undefined;
  #onFailure: ((error: VmmountError) => void) | undefined;
  #hasReceived = false;

  private constructor(target: NbdTarget, onread: "own buffer" | "stream") {
    this.#target = target;
    const { address } = target;
    const where = address.kind === "unix" ? { path: address.path } : { host: address.host, port: address.port };
    const received = {
      buffer: Buffer.allocUnsafeSlow(RECEIVE_BYTES),
      callback: (length: number, buffer: Uint8Array): boolean => {
        this.#received(buffer.subarray(0, length));
        return true;
      },
    };
    // A buffer of our own cannot be taken back when TLS begins on the same socket.
    this.#socket = connect({ ...where, ...(onread === "own buffer" && { onread: received }) });
    if (onread === "stream") this.#readStream(this.#socket);
    this.#listen(this.#socket);
  }

  /** @throws UnreachableError */
  static async connect(target: NbdTarget, options: ChannelOptions): Promise<Channel> {
    const channel = new Channel(target, target.tls === undefined ? "own buffer" : "stream");
    await channel.#opened("connect", options);
    if (target.address.kind === "tcp") channel.#socket.setNoDelay(true).setKeepAlive(true, 30_000);
    return channel;
  }

  /**
   * Goes on in TLS; the server's certificate is checked before anything else is sent.
   * @throws UnreachableError; IntegrityError for plain bytes behind the answer, which anybody on the way may have put there and
   *   which would be taken for the trusted server's
   */
  async startTls({ ca, serverName, certificate }: NbdTls, options: ChannelOptions): Promise<void> {
    if (this.receiver.earlyBytes > 0) throw new IntegrityError("the server goes on in plain text where TLS begins");
    const { address } = this.#target;
    const host = serverName ?? (address.kind === "tcp" ? address.host : "localhost");
    const plain = this.#socket;
    plain.removeAllListeners("data");
    const pinned = certificate === undefined ? undefined : this.#parsed(certificate);
    const secure = tlsConnect({
      socket: plain,
      // An address must not go into the server name extension (RFC 6066 section 3); it is checked all the same.
      ...(isIP(host) === 0 ? { servername: host } : { host }),
      ...(ca !== undefined && { ca }),
      // Compared below instead, before a byte is sent.
      ...(pinned !== undefined && { rejectUnauthorized: false }),
    });
    this.#socket = secure;
    this.#readStream(secure);
    this.#listen(secure);
    await this.#opened("secureConnect", options);
    if (pinned !== undefined) this.#compare(secure, pinned);
  }

  #parsed(certificate: string): X509Certificate {
    try {
      return new X509Certificate(certificate);
    } catch (cause) {
      const message = `${this.#action}: the certificate that it is to have cannot be read`;
      throw new UnreachableError(message, { cause, retryable: false });
    }
  }

  #compare(socket: TLSSocket, pinned: X509Certificate): void {
    // Typed as always there; empty when the server shows none.
    const seen = (socket.getPeerCertificate() as { readonly fingerprint256?: string }).fingerprint256;
    if (seen === pinned.fingerprint256) return;
    const error = new UnreachableError(
      `${this.#action}: its certificate (SHA-256 ${seen ?? "none"}) is not the expected one (${pinned.fingerprint256})`,
      { retryable: false },
    );
    this.destroy(error);
    throw error;
  }

  /** The next `length` bytes. @throws the failure of the connection */
  async read(length: number): Promise<Buffer> {
    const target = Buffer.alloc(length);
    await new Promise<void>((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      this.#onFailure = reject;
      this.receiver.receive(target, length, resolve);
    });
    return target;
  }

  write(...parts: readonly Uint8Array[]): void {
    if (parts.length > 1) this.#socket.cork();
    for (const part of parts) this.#socket.write(part);
    if (parts.length > 1) this.#socket.uncork();
  }

  /** From now on, `listener` hears of the end, at once if it has come. */
  onFailure(listener: (error: VmmountError) => void): void {
    this.#onFailure = listener;
    if (this.#failure !== undefined) listener(this.#failure);
  }

  /** Calls `listener` after each `stallMs` without a byte in either direction. */
  onStall(stallMs: number, listener: () => void): void {
    this.#socket.setTimeout(stallMs, listener);
  }

  /**
   * Calls `listener` after some more than `stallMs` in which something was owed and not a byte came, whatever was sent: a
   * server that is gone takes requests for long. Looks are counted, not time, which goes on while this process is stopped.
   */
  onSilence(stallMs: number, isOwed: () => boolean, listener: () => void): void {
    let silentLooks = 0;
    const timer = setInterval(() => {
      silentLooks = this.#hasReceived || !isOwed() ? 0 : silentLooks + 1;
      this.#hasReceived = false;
      if (silentLooks > LOOKS) listener();
    }, stallMs / LOOKS).unref();
    this.#socket.once("close", () => {
      clearInterval(timer);
    });
  }

  destroy(error: VmmountError): void {
    this.#fail(error);
    this.#socket.destroy();
  }

  async #opened(event: "connect" | "secureConnect", { connectMs, signal }: ChannelOptions): Promise<void> {
    const timer = setTimeout(() => {
      this.destroy(new UnreachableError(`${this.#action}: no answer within ${connectMs / 1000} s`));
    }, connectMs);
    const onAbort = (): void => {
      const { reason } = signal as { reason: unknown };
      this.destroy(reason instanceof VmmountError ? reason : new UnreachableError(this.#action, { cause: reason }));
    };
    signal.addEventListener("abort", onAbort);
    try {
      await new Promise<void>((resolve, reject) => {
        this.onFailure(reject);
        this.#socket.once(event, resolve);
        if (signal.aborted) onAbort();
      });
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    }
  }

  get #action(): string {
    return `Cannot connect to ${shownTarget(this.#target)}`;
  }

  #readStream(socket: Socket): void {
    socket.on("data", (chunk: Buffer) => {
      this.#received(chunk);
    });
  }

  #listen(socket: Socket): void {
    socket.on("error", (cause: Error) => {
      this.#fail(new UnreachableError(`${this.#action}: ${cause.message}`, { cause, retryable: !isDistrust(cause) }));
    });
    socket.on("close", () => {
      this.#fail(new UnreachableError(`${this.#action}: the server closed the connection`));
    });
  }

  #received(chunk: Uint8Array): void {
    this.#hasReceived = true;
    try {
      this.receiver.push(chunk);
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      this.destroy(new UnreachableError(`${shownTarget(this.#target)} breaks the protocol: ${what}`, { cause: error }));
    }
  }

  #fail(error: VmmountError): void {
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#onFailure?.(error);
  }
}

/** A certificate does not become right by trying again. */
function isDistrust(error: Error): boolean {
  return /CERT|ALTNAME|SELF_SIGNED|VERIFY_LEAF/.test((error as NodeJS.ErrnoException).code ?? "");
}
