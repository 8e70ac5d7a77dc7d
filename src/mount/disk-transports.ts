import { errorChain, MissingCapabilityError, UnreachableError, UsageError, VmmountError } from "../errors.js";
import { type DiskDescription, diskNodeName, type Hypervisor, type OpenedDisk, type Progress } from "../hypervisor.js";
import type { Logger } from "../log.js";
import type { Settings } from "../settings.js";
import { type Transport, type TransportOrder, TRANSPORTS_OF } from "../transports.js";
import { findVddk, hasVddk, type VddkLibrary } from "../vddk/find-library.js";
import type { OpenOptions, VddkHost, VddkService, VddkServiceOptions } from "../vddk/vddk-service.js";
import { type Connection, thumbprintOf } from "./connection.js";

/** PrepareForAccess takes a name of at most 50 characters. */
const IDENTITY_PREFIX = "vmmount-";

export interface DiskTransportsParts {
  readonly hypervisor: Hypervisor;
  readonly connection: Connection;
  readonly settings: Settings;
  readonly session: string;
  /** The server's id of the VM. */
  readonly vm: string;
  readonly logger: Logger;
  /** The program that runs as the VDDK host: this one. */
  readonly program: string;
  readonly onProgress: (progress: Progress) => void;
}

interface Refusal {
  readonly transport: string;
  readonly reason: string;
}

/**
 * Opens each disk over the first transport that works, and remembers why the ones before did not. A folder of VMs has its own
 * way and no choice.
 */
export class DiskTransports implements AsyncDisposable {
  readonly #parts: DiskTransportsParts;
  readonly #order: readonly Transport[];
  readonly #library: VddkLibrary | undefined;
  /** Why VMware's library cannot be used, when that was known from the start. */
  #broken: VmmountError | undefined;
  /** One attempt, whose failure counts for every disk. */
  #starting: Promise<VddkHost> | undefined;
  #isPrepared = false;

  private constructor(parts: DiskTransportsParts, order: readonly Transport[], library: VddkLibrary | undefined) {
    this.#parts = parts;
    this.#order = order;
    this.#library = library;
  }

  /** @throws MissingCapabilityError when only VMware's library would do and it is not there */
  static async choose(parts: DiskTransportsParts): Promise<DiskTransports> {
    const { hypervisor, settings } = parts;
    const { kind } = hypervisor.identity;
    if (kind === "dir") return new DiskTransports(parts, [], undefined);
    const wanted = settings["mount.transport"];
    refuseOfOthers(wanted, kind);
    if (kind === "xen") return new DiskTransports(parts, wanted === "auto" ? TRANSPORTS_OF.xen : wanted, undefined);
    const libdir = settings["vddk.libdir"];
    if (wanted === "auto") {
      const isThere = libdir !== "" || (await hasVddk(libdir));
      const library = isThere ? await findVddk(libdir) : undefined;
      return new DiskTransports(parts, library === undefined ? ["https"] : TRANSPORTS_OF.vsphere, library);
    }
    const needsLibrary = wanted.some((transport) => transport !== "https");
    try {
      return new DiskTransports(parts, wanted, needsLibrary ? await findVddk(libdir) : undefined);
    } catch (error) {
      if (!wanted.includes("https") || !(error instanceof VmmountError)) throw error;
      const transports = new DiskTransports(parts, wanted, undefined);
      transports.#broken = error;
      return transports;
    }
  }

  describe(): string {
    return this.#order.length === 0 ? "the server's own" : this.#order.join(":");
  }

  /**
   * The name under which vCenter will be told not to move the VM's disks; undefined where nobody is told: a single host moves
   * nothing and answers with an error, and nbdkit has no way to tell it.
   */
  get accessIdentity(): string | undefined {
    const { session, hypervisor, settings } = this.#parts;
    if (this.#library === undefined || settings["vddk.host"] === "nbdkit") return undefined;
    return /vcenter/i.test(hypervisor.identity.product) ? IDENTITY_PREFIX + session : undefined;
  }

  /** Whether a crash may leave disks of the VM attached to this machine; nbdkit cannot remove them. */
  get mayAttach(): boolean {
    const isOurs = this.#library !== undefined && this.#parts.settings["vddk.host"] !== "nbdkit";
    return isOurs && this.#order.includes("hotadd");
  }

  /**
   * Before the snapshot is made: vCenter does not move the VM's disks from now on. That it does not is no reason to fail.
   */
  async prepareAccess(signal: AbortSignal): Promise<void> {
    const { logger } = this.#parts;
    const identity = this.accessIdentity;
    if (identity === undefined) return;
    try {
      const service = await this.#started(signal);
      await service.access("prepare", identity, signal);
      this.#isPrepared = true;
    } catch (error) {
      // A host that died over it may have been heard by vCenter.
      const isHeard = signal.aborted || error instanceof UnreachableError;
      this.#isPrepared = isHeard && (await this.#running()) !== undefined;
      signal.throwIfAborted();
      logger.warn(`vCenter may move the disks of the VM during the mount: ${errorChain(error)}`);
    }
  }

  /** After the snapshot is gone. */
  async endAccess(): Promise<void> {
    const { logger } = this.#parts;
    const identity = this.accessIdentity;
    if (!this.#isPrepared || identity === undefined) return;
    try {
      // It runs, since somebody prepared it.
      const service = await this.#running();
      await service?.access("end", identity);
      this.#isPrepared = false;
    } catch (error) {
      logger.warn(`vCenter may go on refusing to move the disks of the VM: ${errorChain(error)}`);
    }
  }

  /**
   * @throws the error of the only transport, or MissingCapabilityError that names why each was refused
   */
  async open(disk: DiskDescription, snapshot: string | undefined, signal: AbortSignal): Promise<OpenedDisk> {
    const { hypervisor, settings, vm, logger } = this.#parts;
    const allocation = settings["mount.allocation"];
    const at = { vm, snapshot, disk };
    if (this.#order.length === 0) return hypervisor.openDisk(at, { signal, allocation });
    const refused: Refusal[] = [];
    let last: unknown;
    for (const transport of this.#order) {
      signal.throwIfAborted();
      try {
        const opened =
          transport === "https" || hypervisor.identity.kind === "xen"
            ? await hypervisor.openDisk(at, {
                signal,
                allocation,
                transport,
                spoolDirectory: settings["cache.dir"],
                onProgress: this.#parts.onProgress,
              })
            : await this.#openThroughLibrary(disk, snapshot, {
                mode: transport,
                signal,
                otherwise: transport === this.#order.at(-1) ? "nothing" : "another transport",
              });
        return { ...opened, refused };
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof VmmountError)) throw error;
        last = error;
        const reason = errorChain(error);
        refused.push({ transport, reason });
        // The last one's reason becomes the error.
        if (transport === this.#order.at(-1)) break;
        logger.info(`${disk.label} (${diskNodeName(disk.node)}) cannot be read over ${transport}: ${reason}`);
      }
    }
    // That there is no room here is no question of transports.
    if (refused.length === 1 || (last instanceof VmmountError && last.exit === "space")) throw last;
    const reasons = refused.map(({ transport, reason }) => `${transport}: ${reason}`).join("; ");
    throw new MissingCapabilityError(
      `Cannot read ${disk.label} (${diskNodeName(disk.node)}) over any of ${this.describe()}: ${reasons}`,
      { cause: last, hint: last instanceof VmmountError ? last.hint : undefined },
    );
  }

  /** Before the snapshot is removed. */
  async closeDisks(): Promise<void> {
    await (await this.#running())?.closeDisks();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await (await this.#running())?.[Symbol.asyncDispose]();
  }

  async #openThroughLibrary(
    disk: DiskDescription,
    snapshot: string | undefined,
    { mode, ...options }: OpenOptions & { readonly mode: Transport },
  ): Promise<OpenedDisk> {
    const service = await this.#started(options.signal);
    // One that was opened over another mode and refused may still be there.
    const name = `${diskNodeName(disk.node)} over ${mode}`;
    const request = { name, path: disk.path, mode, snapshot };
    const { source, links } = await service.open(request, options);
    if (source.size !== disk.capacity) {
      await source[Symbol.asyncDispose]();
      throw new MissingCapabilityError(
        `Cannot read "${disk.path}" over ${mode}: the library says ${source.size} bytes, and the server ${disk.capacity}`,
      );
    }
    const allocation =
      source.extents === undefined
        ? "unknown: everything is read"
        : `as VDDK tells (${links === undefined ? "" : `${links} links, `}chunks of 64 KiB)`;
    return { source, transport: mode, allocation };
  }

  /** Undefined when there is nothing to end. */
  async #running(): Promise<VddkHost | undefined> {
    return await this.#starting?.catch(() => undefined);
  }

  /** Disks are opened side by side, and all wait for the one start. */
  async #started(signal: AbortSignal): Promise<VddkHost> {
    if (this.#broken !== undefined) throw this.#broken;
    this.#starting ??= this.#start(signal);
    return await this.#starting;
  }

  async #start(signal: AbortSignal): Promise<VddkHost> {
    const { settings } = this.#parts;
    if (this.#library === undefined) throw new MissingCapabilityError("Cannot use VDDK: it was not found");
    const { hypervisor } = this.#parts;
    const options = {
      ...(await vddkOptions(this.#library, this.#parts)),
      sessionCookie: hypervisor.sessionCookie?.bind(hypervisor),
    };
    // Loaded by mounts that use it only: most read over https, and their first byte need not wait.
    if (settings["vddk.host"] === "nbdkit") {
      const { NbdkitService } = await import("../vddk/nbdkit-service.js");
      return await NbdkitService.start(options);
    }
    const { VddkService } = await import("../vddk/vddk-service.js");
    return await VddkService.start(options, signal);
  }
}

/** One setting serves every server: what it names for the other kind is a mistake that is better told than left out. */
function refuseOfOthers(wanted: TransportOrder, kind: keyof typeof TRANSPORTS_OF): void {
  const own: readonly Transport[] = TRANSPORTS_OF[kind];
  const other = wanted === "auto" ? undefined : wanted.find((transport) => !own.includes(transport));
  if (other === undefined) return;
  throw new UsageError(
    `Cannot use transport "${other}": ${kind === "xen" ? "a Xen pool" : "vSphere"} has none of that name`,
    {
      hint: `Write some of ${own.join(":")}, or "auto"`,
    },
  );
}

/** What starts VMware's library for a VM. @throws UnreachableError when the server's certificate cannot be seen */
async function vddkOptions(
  library: VddkLibrary,
  { connection, settings, vm, logger, program }: Omit<DiskTransportsParts, "hypervisor" | "session" | "onProgress">,
): Promise<VddkServiceOptions> {
  const { hostname, port } = new URL(connection.url);
  const configFile = settings["vddk.config"];
  return {
    library,
    configFile: configFile === "" ? undefined : configFile,
    login: {
      host: hostname.replace(/^\[(.*)\]$/, "$1"),
      port: port === "" ? 443 : Number(port),
      user: connection.user,
      password: connection.password.reveal(),
      thumbprint: await thumbprintOf(connection),
      vm,
    },
    runtimeDir: settings["runtime.dir"],
    program,
    logger,
    stallMs: settings["read.timeout"],
    allocation: settings["mount.allocation"],
  };
}

export interface LeftParts extends Omit<DiskTransportsParts, "hypervisor" | "session" | "connection" | "onProgress"> {
  readonly connect: () => Promise<Connection>;
}

/**
 * After a crash: tells vCenter that it may move the VM's disks again. What keeps it from being told is only logged, since the
 * snapshot is gone and nothing is lost; the mark is in VMware's own list of disabled methods.
 */
export async function endLeftAccess(identity: string, parts: LeftParts): Promise<void> {
  try {
    await withLibrary(parts, (service) => service.access("end", identity));
  } catch (error) {
    parts.logger.warn(`vCenter may go on refusing to move the disks of the VM ("${identity}"): ${errorChain(error)}`);
  }
}

/**
 * After a crash, before the snapshot is removed: its disks may still be attached to this machine, and their files locked. Most
 * crashes leave none, so what keeps the library from looking is only logged.
 */
export async function detachLeftDisks(parts: LeftParts): Promise<void> {
  try {
    await withLibrary(parts, (service) => service.cleanUp());
  } catch (error) {
    parts.logger.warn(`Cannot see whether disks of the VM are still attached to this machine: ${errorChain(error)}`);
  }
}

async function withLibrary(
  { connect, ...parts }: LeftParts,
  ask: (service: VddkService) => Promise<void>,
): Promise<void> {
  const connection = await connect();
  const library = await findVddk(parts.settings["vddk.libdir"]);
  const { VddkService } = await import("../vddk/vddk-service.js");
  await using service = await VddkService.start(await vddkOptions(library, { ...parts, connection }));
  await ask(service);
}
