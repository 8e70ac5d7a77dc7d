import { IntegrityError, UnreachableError, type VmmountError } from "../errors.js";
import { type NbdTarget, shownTarget } from "./address.js";
import { Channel } from "./channel.js";
import { type NbdExport, negotiate } from "./handshake.js";
import { Transmission, type TransmissionOptions } from "./transmission.js";

export interface ConnectionOptions extends TransmissionOptions {
  /** From the first packet to the end of the negotiation. */
  readonly connectMs: number;
}

/** After a good-bye the server closes; one that does not is left. */
const GOODBYE_MS = 1_000;

/** One connection to an export, ready for requests. */
export class NbdConnection implements AsyncDisposable {
  readonly agreed: NbdExport;
  readonly requests: Transmission;
  readonly #channel: Channel;

  private constructor(channel: Channel, agreed: NbdExport, options: TransmissionOptions) {
    this.#channel = channel;
    this.agreed = agreed;
    this.requests = new Transmission(channel, agreed, options);
  }

  /** @throws UnreachableError, NotFoundError, AuthError, MissingCapabilityError; the reason of the signal */
  static async open(target: NbdTarget, options: ConnectionOptions, signal: AbortSignal): Promise<NbdConnection> {
    signal.throwIfAborted();
    const { connectMs } = options;
    const channel = await Channel.connect(target, { connectMs, signal });
    const giveUp = (error: VmmountError): void => {
      channel.destroy(error);
    };
    const onAbort = (): void => {
      giveUp(new UnreachableError("the caller gave up", { cause: signal.reason }));
    };
    const timer = setTimeout(() => {
      giveUp(new UnreachableError(`${shownTarget(target)} does not finish the negotiation in ${connectMs / 1000} s`));
    }, connectMs);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      const agreed = await negotiate(channel, target, { connectMs, signal });
      return new NbdConnection(channel, agreed, options);
    } catch (error) {
      signal.throwIfAborted();
      const failure =
        error instanceof IntegrityError
          ? new UnreachableError(`${shownTarget(target)} breaks the protocol: ${error.message}`, { cause: error })
          : (error as VmmountError);
      giveUp(failure);
      throw failure;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** At once: nothing more is sent, and what is under way fails. */
  cut(error: VmmountError): void {
    this.#channel.destroy(error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.requests.hasFailed) return;
    this.requests.disconnect();
    const timer = setTimeout(() => {
      this.#channel.destroy(new UnreachableError("the connection was closed on our side"));
    }, GOODBYE_MS);
    await this.requests.ended;
    clearTimeout(timer);
    this.#channel.destroy(new UnreachableError("the connection was closed on our side"));
  }
}
