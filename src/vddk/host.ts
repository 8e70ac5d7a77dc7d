import { rm } from "node:fs/promises";
import { dirname } from "node:path";
import { errorChain, errorFacts, UnreachableError, UsageError, VmmountError } from "../errors.js";
import { silentLogger } from "../log.js";
import { NbdServer } from "../nbd/server/nbd-server.js";
import type { ServedDisk } from "../nbd/server/served-disk.js";
import { AnyBytesDisk } from "./any-bytes-disk.js";
import { CallLog } from "./call-log.js";
import { ConnectionParams, type VddkLogin } from "./connection-params.js";
import { Completions } from "./disk-requests.js";
import { Gate } from "./gate.js";
import {
  type DiskRequest,
  type FromHost,
  type HostFailure,
  type HostRequest,
  MEMORY_FD,
  type ToHost,
} from "./host-protocol.js";
import { prepareNativeCalls, Vddk } from "./library.js";
import { mapSharedMemory } from "./shared-memory.js";
import { VddkConnections } from "./vddk-connections.js";
import { VddkDisk, type VddkDiskParts } from "./vddk-disk.js";
import { vixCodeOf } from "./vix-error.js";

/** Closing disks and leaving the server, as long as the daemon would wait for it. */
const END_MS_MAX = 20_000;
/** The library repeats by itself what the network lost; what takes longer than that is not coming any more. */
const COMPLETION_MS_MAX = 300_000;

/**
 * The VDDK host: a process that has nothing but the library in it, and serves its disks as NBD. VMware's library may end the
 * process that it is in, and brings another OpenSSL than Node's; a process that serves a mount cannot have that.
 * @throws UsageError when a person started it
 */
export async function runVddkHost(): Promise<number> {
  if (process.send === undefined) throw new UsageError("Cannot start a VDDK host by hand: a mount starts it");
  prepareNativeCalls();
  // What the library starts must not find its libraries in place of the system's.
  delete process.env["LD_LIBRARY_PATH"];
  const ended = new Promise<void>((resolve) => process.once("disconnect", resolve));
  let host: Host | undefined;
  let folder: string | undefined;
  let last: Promise<void> = Promise.resolve();
  process.on("message", (message) => {
    last = last.then(async () => {
      const asked = message as ToHost;
      try {
        if (asked.type === "begin") {
          folder = dirname(asked.request.socket);
          host = await Host.begin(asked.request);
        }
        send(await answerTo(asked, host));
      } catch (error) {
        send({ type: "failed", ...failure(error) });
      }
      if (asked.type === "end" && process.connected) process.disconnect();
    });
  });
  await ended;
  // The daemon is gone, or wants nothing more. Nobody is left to end a host whose library hangs.
  setTimeout(() => process.kill(process.pid, "SIGKILL"), END_MS_MAX).unref();
  await last;
  await host?.end();
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  return 0;
}

async function answerTo(asked: ToHost, host: Host | undefined): Promise<FromHost> {
  if (host === undefined) throw new UsageError("The VDDK host was not told what to load");
  switch (asked.type) {
    case "begin":
      return { type: "ready", modes: host.modes };
    case "open":
      return { type: "opened", disk: await host.open(asked.disk) };
    case "access":
      host.access(asked.what, asked.identity);
      return { type: "done" };
    case "login":
      host.logInWith(asked.login);
      return { type: "done" };
    case "clean":
      host.cleanUp();
      return { type: "done" };
    case "alive":
      host.alive();
      return { type: "done" };
    case "close":
      await host.close();
      return { type: "done" };
    case "end":
      await host.end();
      return { type: "done" };
  }
}

function failure(error: unknown): HostFailure {
  return { error: errorFacts(error), vix: error instanceof VmmountError ? vixCodeOf(error) : undefined };
}

function send(message: FromHost): void {
  // The daemon may be gone: then there is nobody to tell.
  process.send?.(message, undefined, undefined, () => undefined);
}

class Host {
  readonly #vddk: Vddk;
  #login: VddkLogin;
  #params: ConnectionParams;
  /** Connections may still point to them. */
  readonly #formerParams: ConnectionParams[] = [];
  readonly #parts: VddkDiskParts;
  readonly #disks: VddkDisk[] = [];
  #server: NbdServer | undefined;
  /** As whom vCenter was asked to leave the disks where they are. */
  #prepared: string | undefined;
  #isEnded = false;

  private constructor(vddk: Vddk, request: HostRequest) {
    this.#vddk = vddk;
    this.#login = request.login;
    this.#params = new ConnectionParams(vddk, request.login, { vm: "of the login" });
    this.#parts = {
      vddk,
      majorVersion: Number.parseInt(request.library.version, 10),
      connections: new VddkConnections(vddk, this.#params),
      completions: new Completions(),
      gate: new Gate(),
      depth: request.depth,
      riseAfterMs: request.riseAfterMs,
      note: (level, text) => {
        send({ type: "note", level, text });
      },
      onReopened: (turn, error) => {
        send({ type: "reopened", turn, failure: error === undefined ? undefined : failure(error) });
      },
    };
  }

  static async begin(request: HostRequest): Promise<Host> {
    const calls = CallLog.for(request.calls, (level, text) => {
      send({ type: "note", level, text });
    });
    const vddk = Vddk.load(request.library, calls);
    vddk.init(request.library.root, request.configFile);
    const host = new Host(vddk, request);
    if (request.cleansUp) {
      try {
        host.cleanUp();
      } catch (error) {
        // What is to be opened may work all the same.
        host.#parts.note("warn", errorChain(error));
      }
    }
    for (const disk of request.disks) await host.open(disk);
    // Not before: a client that finds no export gives up.
    const { sharedBytes } = request;
    const shared = sharedBytes === 0 ? undefined : mapSharedMemory(MEMORY_FD, sharedBytes);
    host.#server = await NbdServer.listen(request.socket, silentLogger(), shared);
    for (const disk of host.#disks) host.#server.add(served(disk));
    return host;
  }

  get modes(): string {
    return this.#vddk.call("ListTransportModes") as string;
  }

  async open(request: DiskRequest): Promise<{ capacityBytes: number; mode: string; links: number }> {
    // One that was lost while it was written, which the library must let go of first.
    const lost = this.#disks.findIndex(({ name }) => name === request.name);
    for (const disk of lost < 0 ? [] : this.#disks.splice(lost, 1)) await disk.close();
    const { disk, links } = await VddkDisk.open(this.#parts, request);
    this.#disks.push(disk);
    this.#server?.add(served(disk));
    return { capacityBytes: disk.size, mode: request.mode, links };
  }

  logInWith(login: VddkLogin): void {
    this.#formerParams.push(this.#params);
    this.#login = login;
    this.#params = new ConnectionParams(this.#vddk, login, { vm: "of the login" });
    this.#parts.connections.logInWith(this.#params);
  }

  /**
   * Disks that processes which died had attached to this virtual machine stay there, and their files locked.
   * @throws VmmountError when the library cannot look
   */
  cleanUp(): void {
    using params = new ConnectionParams(this.#vddk, this.#login, { vm: "none" });
    const [cleaned, remaining]: [[number], [number]] = [[0], [0]];
    const { note } = this.#parts;
    const result = this.#vddk.call("Cleanup", params.pointer, cleaned, remaining);
    this.#vddk.check("Cannot remove what crashed processes left", result);
    if (cleaned[0] > 0) {
      note("info", `Removed the disks that ${cleaned[0]} crashed processes had left attached to this machine`);
    }
    if (remaining[0] > 0) {
      note(
        "warn",
        `Disks of ${remaining[0]} crashed processes are still attached to this machine: detach them by hand`,
      );
    }
  }

  access(what: "prepare" | "end", identity: string): void {
    const name = what === "prepare" ? "PrepareForAccess" : "EndAccess";
    // Also after a failure: what was done before it is to be undone.
    if (what === "prepare") this.#prepared = identity;
    this.#vddk.check(`Cannot ${what} access to the VM`, this.#vddk.call(name, this.#params.pointer, identity));
    if (what === "end") this.#prepared = undefined;
  }

  /**
   * A handle with a request under way can be neither closed nor opened anew: only another process helps.
   * @throws UnreachableError when the library has forgotten one
   */
  alive(): void {
    const ms = this.#parts.completions.oldestMs;
    if (ms > COMPLETION_MS_MAX)
      throw new UnreachableError(`VDDK has not completed a request for ${Math.round(ms / 1000)} s`);
  }

  /** The disks and whoever reads them; the library stays. */
  async close(): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]();
    this.#server = undefined;
    for (const disk of this.#disks.splice(0)) await disk.close();
    // A handle that failed a moment ago may be waiting for its turn to be closed.
    await this.#parts.gate.alone(() => undefined);
  }

  async end(): Promise<void> {
    if (this.#isEnded) return;
    this.#isEnded = true;
    await this.close();
    // The daemon died before: without this vCenter would refuse to move the disks until somebody cleans up.
    if (this.#prepared !== undefined) this.#vddk.call("EndAccess", this.#params.pointer, this.#prepared);
    for (const params of [...this.#formerParams, this.#params]) params[Symbol.dispose]();
    this.#vddk.exit();
  }
}

function served(disk: VddkDisk): ServedDisk {
  const { write } = disk;
  return write === undefined ? disk : new AnyBytesDisk(disk as typeof disk & { readonly write: typeof write });
}
