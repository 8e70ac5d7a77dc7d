import { X509Certificate } from "node:crypto";
import { UnreachableError } from "../../errors.js";
import type { TlsTrust } from "../../https/tls.js";
import type { Logger } from "../../log.js";
import type { XenLimits } from "./limits.js";
import { memberOrigin, type PoolUrl } from "./pool-url.js";
import { RpcClient, type RpcOptions } from "./rpc-client.js";
import type { XapiValue } from "./value.js";

const CERTIFICATES_HINT =
  "Put the certificate of every host of the pool into one file and name it with --ca-file (config: ca_file), " +
  "or name the pool's master in the server URL";

/**
 * The hosts of a pool that are known: how to reach each, and what makes its certificate trusted. A pinned fingerprint is
 * that of the host which the user named; those of the others are learnt through it.
 */
export class Members implements AsyncDisposable {
  readonly #pool: PoolUrl;
  readonly #trust: TlsTrust;
  readonly #limits: XenLimits;
  readonly #logger: Logger;
  /** Addresses in the order in which they became known; the one that the user named comes first. */
  readonly #addresses = new Set<string>();
  readonly #pins = new Map<string, string>();
  readonly #clients = new Map<string, { readonly client: RpcClient; readonly pin: string | undefined }>();

  constructor(pool: PoolUrl, trust: TlsTrust, limits: XenLimits, logger: Logger) {
    this.#pool = pool;
    this.#trust = trust;
    this.#limits = limits;
    this.#logger = logger;
    this.#addresses.add(pool.address);
  }

  get addresses(): readonly string[] {
    return [...this.#addresses];
  }

  origin(address: string): string {
    return memberOrigin(address, this.#pool.port);
  }

  /** Whether members' certificates have to be learnt one by one, and this one's is not known. */
  lacksCertificate(address: string): boolean {
    return this.#pinsCertificates && address !== this.#pool.address && !this.#pins.has(address);
  }

  /** @param certificate PEM of the host's own certificate, where it could be learnt */
  remember(address: string, certificate?: string): void {
    if (this.#addresses.size < this.#limits.membersMax) this.#addresses.add(address);
    if (certificate === undefined || !this.#addresses.has(address)) return;
    try {
      this.#pins.set(address, new X509Certificate(certificate).fingerprint256);
    } catch (error) {
      this.#logger.debug("Cannot read the certificate of a host", { address, error: String(error) });
    }
  }

  /** @throws UnreachableError when nothing is known that could make the host's certificate trusted */
  trust(address: string): TlsTrust {
    if (!this.#pinsCertificates) return this.#trust;
    if (address === this.#pool.address) return this.#trust;
    const fingerprint = this.#pins.get(address);
    if (fingerprint !== undefined) return { insecure: false, fingerprint };
    throw new UnreachableError(
      `Cannot trust ${this.origin(address)}: the fingerprint is pinned of ${this.#pool.address} alone, and the certificate of this host of the pool could not be learnt`,
      { retryable: false, hint: CERTIFICATES_HINT },
    );
  }

  get #pinsCertificates(): boolean {
    return this.#trust.fingerprint !== undefined && !this.#trust.insecure;
  }

  /** @throws UnreachableError, XapiFault */
  async call(address: string, method: string, params: readonly XapiValue[], options: RpcOptions): Promise<XapiValue> {
    try {
      return await this.#client(address).call(method, params, options);
    } catch (error) {
      // The advice to pin what was seen is for the one host that the user named.
      const isDistrust = error instanceof UnreachableError && !error.retryable && error.hint !== undefined;
      if (!isDistrust || address === this.#pool.address) throw error;
      throw new UnreachableError(error.message, { cause: error, retryable: false, hint: CERTIFICATES_HINT });
    }
  }

  #client(address: string): RpcClient {
    // A host that was never asked about is tried with the pin of the one that the user named: it may be the same.
    const trust = this.lacksCertificate(address) ? this.#trust : this.trust(address);
    const known = this.#clients.get(address);
    if (known !== undefined && known.pin === trust.fingerprint) return known.client;
    const client = new RpcClient(this.origin(address), trust, this.#limits, this.#logger);
    // The former one's certificate is out of date: nothing of ours uses it for longer than a call.
    void known?.client[Symbol.asyncDispose]();
    this.#clients.set(address, { client, pin: trust.fingerprint });
    return client;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#clients.values()].map(({ client }) => client[Symbol.asyncDispose]()));
  }
}
