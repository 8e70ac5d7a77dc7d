import type { Config } from "../config.js";
import { errorChain } from "../errors.js";
import type { Hypervisor } from "../hypervisor.js";
import type { Logger } from "../log.js";
import {
  type Connection,
  openHypervisor,
  prepareConnection,
  rememberedServer,
  type ServerChoice,
} from "../mount/connection.js";
import type { EarlierServer } from "../mount/recover-session.js";
import type { SessionFacts } from "../snapshot/journal-record.js";

/** One login for each server and user, however many sessions and VMs it is asked about. Disposing logs out. */
export class Logins implements AsyncDisposable {
  readonly #options: {
    readonly config: Config;
    readonly choice: ServerChoice;
    readonly logger: Logger;
    readonly signal: AbortSignal;
  };
  readonly #open = new Map<string, Promise<Hypervisor>>();

  constructor(options: {
    readonly config: Config;
    readonly choice: ServerChoice;
    readonly logger: Logger;
    readonly signal: AbortSignal;
  }) {
    this.#options = options;
  }

  /** @throws what logging in throws, to everybody who asks: wrong passwords are tried once */
  to(connection: Connection): Promise<Hypervisor> {
    const key = `${connection.user} ${connection.url}`;
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    const { logger, signal } = this.#options;
    const opening = openHypervisor(connection, logger, signal);
    this.#open.set(key, opening);
    return opening;
  }

  /** For sessions of the journal, by what it remembers of their servers. */
  get earlier(): EarlierServer {
    const { config, choice } = this.#options;
    const { credential } = choice;
    const connect = ({ server }: SessionFacts): Promise<Connection> =>
      // Flags are about the servers that were named.
      prepareConnection(rememberedServer(config, server, { credential }), choice);
    return { connect, using: async (facts, _signal, work) => work(await this.to(await connect(facts))) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const one of await Promise.allSettled(this.#open.values())) {
      // A login that failed has nothing to end, and whoever asked for it has told why.
      if (one.status === "rejected") continue;
      try {
        await one.value[Symbol.asyncDispose]();
      } catch (error) {
        this.#options.logger.debug("Cannot log out", { error: errorChain(error) });
      }
    }
  }
}
