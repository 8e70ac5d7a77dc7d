import { setMaxListeners } from "node:events";
import { mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import pLimit from "p-limit";
import { type ErrorFacts, errorFacts, LeftoverError, NotFoundError, RefusedError } from "../../errors.js";
import type { Settings } from "../../settings.js";
import type { SessionFacts } from "../../snapshot/journal-record.js";
import { checkFuseDriver } from "../choose-fuse-driver.js";
import type { SessionStatus } from "../control-protocol.js";
import type { VmPlace } from "../daemon-protocol.js";
import { LaunchedDaemon } from "../launch-daemon.js";
import { removeEmptyFolder } from "../made-folder.js";
import { canonicalMountPoint, checkMountPoint, refuseInsideMount } from "../mount-point.js";
import type { MountVmOptions } from "../mount-vm.js";
import { clearEarlierMount, removableMount } from "../preexisting-mount.js";
import { startDaemon } from "../start-daemon.js";
import { unmountTarget } from "../unmount.js";
import { folderNames } from "./folder-names.js";
import { runJob } from "./job.js";
import type { VmOutcome } from "./outcome.js";
import { type PlaceLimits, Places } from "./places.js";
import { selectVms, type SelectedVm } from "./select-vms.js";

/** Daemons that are ready while others have their turn: those whose datastore is busy must not keep the rest idle. */
const PREPARED_AHEAD = 4;

export interface MountManyOptions extends Omit<MountVmOptions, "daemon" | "onLog"> {
  /** This program, which runs as the daemons. */
  readonly program: string;
  /** With `--each`: what to run for every VM before it is unmounted again. */
  readonly job: string | undefined;
  /** A folder for each VM; else the directory itself, for the only one. */
  readonly makesFolders: boolean;
  readonly onLog: (line: string, vm: string) => void;
}

interface Target extends SelectedVm {
  readonly directory: string;
  readonly makesFolder: boolean;
}

export function placeLimits(settings: Settings): PlaceLimits {
  return {
    total: settings["parallel.total"],
    server: settings["parallel.server"],
    host: settings["parallel.host"],
    datastore: settings["parallel.datastore"],
  };
}

/**
 * Mounts several VMs, each in a folder of its own and by a daemon of its own, as many at once as the limits allow. One that
 * fails does not keep the others from being mounted; a signal unmounts them all again.
 * @throws CancelledError after a signal, with nothing left; what is wrong before any VM is begun
 */
export async function mountMany(
  texts: readonly string[],
  where: string,
  options: MountManyOptions,
): Promise<VmOutcome[]> {
  const directory = options.makesFolders
    ? await checkDirectory(where)
    : ((await removableMount(where, options))?.mount.mountPoint ?? (await checkMountPoint(where)));
  await checkFuseDriver(options.config.settings, directory);
  await options.paths.prepare();
  // Every VM that waits listens.
  setMaxListeners(0, options.signal);
  const selected = await selectVms(texts, options);
  const names = folderNames(selected.map(({ vm }) => vm));
  const targets = selected.map((one, index): Target => ({
    ...one,
    directory: options.makesFolders ? join(directory, names[index] ?? "") : directory,
    makesFolder: options.makesFolders,
  }));
  return await new ManyMounts(targets, options).run();
}

async function checkDirectory(where: string): Promise<string> {
  const directory = await canonicalMountPoint(where);
  await refuseInsideMount(join(directory, "folder"));
  const found = await stat(directory).catch((error: unknown) => {
    throw new NotFoundError(`Cannot mount below "${directory}": ${(error as Error).message}`, {
      cause: error,
      hint: `mkdir -p ${JSON.stringify(directory)}`,
    });
  });
  if (!found.isDirectory()) throw new RefusedError(`Cannot mount below "${directory}": it is not a directory`);
  return directory;
}

class ManyMounts {
  readonly #targets: readonly Target[];
  readonly #options: MountManyOptions;
  /** Until a daemon is ready for its snapshot: a server is not asked by all of them at once. */
  readonly #starting: Places;
  /** From its snapshot on. */
  readonly #freezing: Places;
  #unprepared: number;
  readonly #allPrepared: Promise<void>;
  #onAllPrepared: () => void = () => undefined;
  #ended = 0;

  constructor(targets: readonly Target[], options: MountManyOptions) {
    this.#targets = targets;
    this.#options = options;
    const limits = placeLimits(options.config.settings);
    this.#starting = new Places(limits);
    this.#freezing = new Places(limits);
    this.#unprepared = targets.length;
    this.#allPrepared = new Promise((resolve) => {
      this.#onAllPrepared = resolve;
    });
  }

  async run(): Promise<VmOutcome[]> {
    const { job, config, signal } = this.#options;
    // Without a command every daemon stays; with one there is no need for all of them at once.
    const turn = pLimit(job === undefined ? this.#targets.length : config.settings["parallel.total"] + PREPARED_AHEAD);
    const outcomes = await Promise.all(
      this.#targets.map((target) =>
        turn(async () => {
          const outcome = await this.#one(target);
          this.#ended++;
          this.#report();
          return outcome;
        }),
      ),
    );
    if (signal.aborted) await this.#takeBack(outcomes);
    return outcomes;
  }

  #report(): void {
    const all = this.#targets.length;
    this.#options.onProgress(`Mounting ${all} VMs`, (100 * this.#ended) / all);
  }

  async #one(target: Target): Promise<VmOutcome> {
    const { connection, vm, directory } = target;
    const { name, path, ref, instanceUuid } = vm;
    const about = {
      vm: { name, path, ref, ...(instanceUuid !== undefined && { instanceUuid }) },
      server: { name: connection.name, url: connection.url },
      directory,
    };
    const held: (() => void)[] = [];
    try {
      const status = await this.#mount(target, held);
      if (this.#options.job === undefined) return { ...about, state: "mounted", session: status.session, status };
      const error = await runJob(this.#options.job, status, this.#options);
      return {
        ...about,
        state: error === undefined ? "done" : "failed",
        session: status.session,
        ...(error && { error }),
      };
    } catch (error) {
      const facts: ErrorFacts = errorFacts(error);
      this.#options.logger.debug(`Cannot mount "${name}": ${facts.message}`);
      return { ...about, state: "failed", error: facts };
    } finally {
      for (const release of held) release();
    }
  }

  /** @param held what the VM occupies, to be given back when it is mounted, or with a command when it is unmounted again */
  async #mount(target: Target, held: (() => void)[]): Promise<SessionStatus> {
    const { program, signal, onLog, config } = this.#options;
    const { connection, vm, locator } = target;
    let isPrepared = false;
    const prepared = (): void => {
      if (isPrepared) return;
      isPrepared = true;
      if (--this.#unprepared === 0) this.#onAllPrepared();
    };
    try {
      const starting = await this.#starting.acquire({ server: connection.url, host: undefined, storages: [] }, signal);
      held.push(starting);
      await this.#makeWay(target);
      const folder = await makeFolder(target);
      const daemon = LaunchedDaemon.launch(program, folder.path);
      try {
        return await startDaemon(
          daemon,
          {
            session: daemon.session,
            mountPoint: folder.path,
            madeMountPoint: folder.isMade,
            waitsForTurn: true,
            connection: { ...connection, password: connection.password.reveal() },
            locator,
            settings: config.settings,
          },
          {
            ...this.#options,
            onLog: (line) => {
              onLog(line, vm.name);
            },
            // Forty bars at once tell nothing.
            onProgress: () => undefined,
            onPrepared: async (place) => {
              prepared();
              starting();
              held.push(await this.#turnOf(target, place));
            },
          },
        );
      } catch (error) {
        await daemon.dismiss();
        // The daemon removes it too; one that was never asked, or died, has not.
        if (folder.isMade) await removeEmptyFolder(folder.path);
        throw error;
      }
    } finally {
      prepared();
    }
  }

  /** An earlier mount where this one is to be, as far as preexisting.mount lets it go. */
  async #makeWay({ directory, connection, vm }: Target): Promise<void> {
    const earlier = await removableMount(directory, this.#options);
    if (earlier === undefined) return;
    const isSameVm = (facts: SessionFacts): Promise<boolean> =>
      Promise.resolve(facts.server.url === connection.url && facts.vm.ref === vm.ref);
    await clearEarlierMount(earlier, isSameVm, {
      ...this.#options,
      onProgress: () => undefined,
      known: connection,
      force: false,
    });
  }

  /** All that can be known before is known before the first snapshot: it is not made for the others to wait. */
  async #turnOf({ connection }: Target, place: VmPlace): Promise<() => void> {
    if (this.#options.job === undefined) await this.#allPrepared;
    return await this.#freezing.acquire({ ...place, server: connection.url }, this.#options.signal);
  }

  /** After a signal: who asks to stop wants no half of the VMs. @throws CancelledError, LeftoverError */
  async #takeBack(outcomes: readonly VmOutcome[]): Promise<never> {
    const { signal, ...options } = this.#options;
    const undo = pLimit(options.config.settings["parallel.server"]);
    const mounted = outcomes.filter(({ state }) => state === "mounted");
    const ended = await Promise.allSettled(
      mounted.map(({ directory }) => undo(() => unmountTarget(directory, { ...options, force: true }))),
    );
    const failures = ended.flatMap((one) => (one.status === "rejected" ? [errorFacts(one.reason)] : []));
    const left = [...failures, ...outcomes.flatMap(({ error }) => error ?? [])].filter(
      ({ name }) => name === "leftover",
    );
    if (left.length > 0) {
      throw new LeftoverError(`Stopped, and of ${left.length} VMs something is left: ${left[0]?.message ?? ""}`, {
        hint: "See vmmount status",
      });
    }
    for (const { message } of failures) options.logger.error(message);
    throw signal.reason as Error;
  }
}

/** @throws BusyError, RefusedError when something is in the way */
async function makeFolder({ directory, makesFolder }: Target): Promise<{ path: string; isMade: boolean }> {
  if (!makesFolder) return { path: await checkMountPoint(directory), isMade: false };
  const made = await mkdir(directory, { mode: 0o700 }).then(
    () => true,
    (error: unknown) => {
      if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
      throw new RefusedError(`Cannot make the folder "${directory}": ${(error as Error).message}`, { cause: error });
    },
  );
  return { path: await checkMountPoint(directory), isMade: made };
}
