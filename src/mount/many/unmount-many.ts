import { setMaxListeners } from "node:events";
import { dirname } from "node:path";
import { type ErrorFacts, errorFacts, VmmountError } from "../../errors.js";
import { readMountInfo, topMountAt } from "../../mount-info.js";
import { sessionOfMount } from "../mount-source.js";
import { canonicalMountPoint } from "../mount-point.js";
import { listSessions, type SessionEntry } from "../session-list.js";
import { isSessionId, type StatePaths } from "../state-paths.js";
import { unmountSession, unmountTarget, type UnmountOptions } from "../unmount.js";
import { placeLimits } from "./mount-many.js";
import { Places } from "./places.js";

/** A mount that is to go: with its journal, where this user has it. */
export interface Doomed {
  readonly mountPoint: string;
  readonly entry: SessionEntry | undefined;
}

/** What became of one of several mounts; stable for `--json`. */
export interface UnmountOutcome {
  readonly mountPoint: string;
  readonly session: string | undefined;
  readonly vm?: { readonly name: string; readonly path: string };
  readonly state: "unmounted" | "failed";
  readonly message: string;
  readonly error?: ErrorFacts;
}

/** Every session of this host. */
export async function everyMount(paths: StatePaths): Promise<Doomed[]> {
  return (await listSessions(paths)).map((entry) => ({ mountPoint: entry.facts?.mountPoint ?? "", entry }));
}

/** The mounts directly below a directory that is none itself; empty when `target` is a mount, a session, or neither. */
export async function mountsBelow(target: string, paths: StatePaths): Promise<Doomed[]> {
  const sessions = await listSessions(paths);
  if (isSessionId(target) && sessions.some(({ id }) => id === target)) return [];
  const directory = await canonicalMountPoint(target);
  const mounts = await readMountInfo();
  const isMount = topMountAt(mounts, directory) !== undefined && directory !== "/";
  const own = mounts.filter((mount) => sessionOfMount(mount) !== undefined);
  if (own.some(({ mountPoint }) => mountPoint === directory)) return [];
  if (sessions.some(({ facts }) => facts?.mountPoint === directory)) return [];
  const journaled = sessions.filter(({ facts }) => facts !== undefined && dirname(facts.mountPoint) === directory);
  const known = new Set(journaled.map(({ facts }) => facts?.mountPoint));
  const others = own.filter(({ mountPoint }) => dirname(mountPoint) === directory && !known.has(mountPoint));
  if (isMount && journaled.length + others.length === 0) return [];
  return [
    ...journaled.map((entry) => ({ mountPoint: entry.facts?.mountPoint ?? "", entry })),
    ...others.map(({ mountPoint }) => ({ mountPoint, entry: undefined })),
  ];
}

/** Unmounts them side by side within the limits; one that fails does not keep the others' snapshots alive. */
export async function unmountEvery(doomed: readonly Doomed[], options: UnmountOptions): Promise<UnmountOutcome[]> {
  const signal = options.signal ?? new AbortController().signal;
  setMaxListeners(0, signal);
  const places = new Places(placeLimits(options.config.settings));
  let ended = 0;
  const outcomes = await Promise.all(
    doomed.map(async (one) => {
      const outcome = await unmountOne(one, places, signal, options);
      options.onProgress(`Unmounting ${doomed.length} VMs`, (100 * ++ended) / doomed.length);
      return outcome;
    }),
  );
  if (options.signal?.aborted === true) throw options.signal.reason as Error;
  return outcomes;
}

async function unmountOne(
  { mountPoint, entry }: Doomed,
  places: Places,
  signal: AbortSignal,
  options: UnmountOptions,
): Promise<UnmountOutcome> {
  const facts = entry?.facts;
  const about = {
    mountPoint,
    session: entry?.id,
    ...(facts !== undefined && { vm: { name: facts.vm.name, path: facts.vm.path } }),
  };
  let release: (() => void) | undefined;
  try {
    const { host, storages = [] } = facts?.place ?? {};
    release = await places.acquire({ server: facts?.server.url ?? "", host, storages }, signal);
    // A bar for each of them would be one that jumps.
    const quiet = { ...options, onProgress: () => undefined };
    const { message } =
      entry === undefined ? await unmountTarget(mountPoint, quiet) : await unmountSession(entry, quiet);
    return { ...about, state: "unmounted", message };
  } catch (error) {
    return { ...about, state: "failed", message: errorFacts(error).message, error: errorFacts(error) };
  } finally {
    release?.();
  }
}

/** @throws VmmountError "leftover" when any snapshot remains, else "partial"; the failure itself of an only one */
export function throwIfAnyStays(outcomes: readonly UnmountOutcome[]): void {
  const failures = outcomes.flatMap(({ error }) => error ?? []);
  const [first] = failures;
  if (first === undefined) return;
  const isLeft = failures.some(({ name }) => name === "leftover");
  const reasons = failures.map(({ message }) => message).join("; ");
  throw new VmmountError(
    `Cannot unmount ${failures.length} of ${outcomes.length} VMs: ${reasons}`,
    outcomes.length === 1 ? first.name : isLeft ? "leftover" : "partial",
    { hint: outcomes.length === 1 ? first.hint : "See vmmount status" },
  );
}
