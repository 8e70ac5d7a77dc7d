import { deadline } from "../../deadline.js";
import { AuthError, errorChain, UnreachableError } from "../../errors.js";
import type { TlsTrust } from "../../https/tls.js";
import type { CallOptions } from "../../hypervisor.js";
import type { Logger } from "../../log.js";
import { toText } from "./fields.js";
import type { XenLimits } from "./limits.js";
import type { Members } from "./members.js";
import { loadHosts, loadPoolFacts } from "./pool-facts.js";
import type { PoolSession } from "./pool-session.js";
import { beginDownload, type StreamParts, upload } from "./streams.js";
import { type Task, Tasks } from "./tasks.js";
import type { XapiValue } from "./value.js";
import type { PoolFacts, TaskCall, Xapi, XenDownload, XenHost, XenUploadBody } from "./xapi.js";

export interface ClientParts {
  readonly members: Members;
  readonly session: PoolSession;
  readonly limits: XenLimits;
  readonly logger: Logger;
}

/** The API of one pool: calls, tasks, streams and the hosts that are known. */
export class XapiClient implements Xapi {
  readonly facts: PoolFacts;
  readonly #parts: ClientParts;
  readonly #tasks: Tasks;
  /** The look at the pool after the login, so that its other hosts are known when the master dies. */
  #looking: Promise<unknown> | undefined;
  readonly #closing = new AbortController();

  private constructor(facts: PoolFacts, parts: ClientParts) {
    this.facts = facts;
    this.#parts = parts;
    this.#tasks = new Tasks(parts.session, parts.limits, parts.logger);
  }

  /** The session is open. The client owns what it is made of. @throws XapiFault, UnreachableError */
  static async create(parts: ClientParts, options: CallOptions): Promise<XapiClient> {
    const call = parts.session.call.bind(parts.session);
    const client = new XapiClient(await loadPoolFacts(call, options), parts);
    const late = (): UnreachableError => new UnreachableError("Looking at the hosts of the pool took too long");
    const signal = AbortSignal.any([deadline(parts.limits.callMs, late), client.#closing.signal]);
    client.#looking = client.hosts({ signal }).catch((error: unknown) => {
      parts.logger.debug("Cannot see the hosts of the pool", { error: errorChain(error) });
    });
    return client;
  }

  call(method: string, args: readonly XapiValue[], { signal }: CallOptions): Promise<XapiValue> {
    return this.#parts.session.call(method, args, { signal });
  }

  task(method: string, args: readonly XapiValue[], options: TaskCall): Promise<XapiValue> {
    return this.#tasks.run(method, args, options);
  }

  wait(task: string, options: TaskCall): Promise<XapiValue> {
    return this.#tasks.wait(task, options);
  }

  session({ signal }: CallOptions): Promise<string> {
    return this.#parts.session.reference(signal);
  }

  async hosts(options: CallOptions): Promise<readonly XenHost[]> {
    const { members, session, logger } = this.#parts;
    const hosts = await loadHosts(session.call.bind(session), options);
    const learn = async ({ ref, address, isLive }: XenHost): Promise<void> => {
      members.remember(address);
      if (!members.lacksCertificate(address) || !isLive) return;
      try {
        const certificate = await this.call("host.get_server_certificate", [ref], options);
        members.remember(address, toText(certificate, "a certificate"));
      } catch (error) {
        options.signal.throwIfAborted();
        // Only whoever needs this host must hear of it.
        logger.debug("Cannot learn the certificate of a host", { host: address, error: errorChain(error) });
      }
    };
    await Promise.all(hosts.filter(({ address }) => address !== "").map(learn));
    return hosts;
  }

  async download(
    host: XenHost,
    path: string,
    query: Readonly<Record<string, string>>,
    options: TaskCall,
  ): Promise<XenDownload> {
    const begin = async (): Promise<XenDownload> => {
      const parts = await this.#streamParts(options);
      return await removingOnFailure(parts.task, () => beginDownload({ host, path, query }, parts, options));
    };
    try {
      return await begin();
    } catch (error) {
      // The session has ended since it was looked at: the next look logs in again.
      if (error instanceof AuthError && error.retryable) return await begin();
      throw error;
    }
  }

  async upload(
    host: XenHost,
    path: string,
    query: Readonly<Record<string, string>>,
    body: XenUploadBody,
    options: TaskCall,
  ): Promise<XapiValue> {
    const parts = await this.#streamParts(options);
    const result = await removingOnFailure(parts.task, () => upload({ host, path, query }, body, parts, options));
    await parts.task.remove();
    return result;
  }

  async #streamParts(options: TaskCall): Promise<StreamParts> {
    const { members, session, limits, logger } = this.#parts;
    await this.#looking;
    const { what, description = "", signal } = options;
    const task = await this.#tasks.create(`vmmount: ${what}`, description, signal);
    // Creating the task has shown that the session is good.
    return await removingOnFailure(task, async () => {
      await options.onBegun?.(task.ref);
      return { members, limits, task, logger, session: await session.reference(options.signal) };
    });
  }

  trust(host: XenHost): TlsTrust {
    return this.#parts.members.trust(host.address);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { session, members } = this.#parts;
    this.#closing.abort(new UnreachableError("The connection was closed on our side"));
    try {
      await this.#looking;
      await session[Symbol.asyncDispose]();
    } finally {
      await members[Symbol.asyncDispose]();
    }
  }
}

async function removingOnFailure<T>(task: Task, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await task.cancel();
    await task.remove();
    throw error;
  }
}
