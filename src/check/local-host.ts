import { hostname } from "node:os";
import type { StatePaths } from "../mount/state-paths.js";
import type { Settings } from "../settings.js";
import { bounded } from "./bounded.js";
import type { Finding } from "./finding.js";
import { checkDirectory, type DirectoryKey, directoryId } from "./host-directories.js";
import { checkDevice, checkDriver, checkFusermount } from "./host-fuse.js";
import { checkCoreDumps, checkOpenFiles, checkVersions } from "./host-limits.js";
import { checkSessions } from "./host-sessions.js";
import { checkTransports, checkVddk } from "./host-transports.js";
import { about, type Check } from "./report.js";

/** A question that needs no server. A dead disk of this host must not hang it. */
const LOCAL_MS = 10_000;

export interface LocalHost {
  readonly settings: Settings;
  readonly paths: StatePaths;
}

/** Everything that mounts need of this host, whatever the server. Changes nothing. */
export async function checkLocalHost({ settings, paths }: LocalHost, signal: AbortSignal): Promise<Check[]> {
  const directories: readonly DirectoryKey[] = ["state.dir", "runtime.dir", "cache.dir"];
  const questions: readonly (readonly [string, () => Finding | Promise<Finding>])[] = [
    ["host.versions", () => checkVersions()],
    ["host.fuse", () => checkDevice()],
    ["host.fusermount", () => checkFusermount(settings)],
    ["host.fuse-driver", () => checkDriver(settings)],
    ["host.vddk", () => checkVddk(settings)],
    ["host.transports", () => checkTransports(settings)],
    ...directories.map((key) => [directoryId(key), () => checkDirectory(key, settings)] as const),
    ["host.core-dumps", () => checkCoreDumps()],
    ["host.open-files", () => checkOpenFiles()],
    ["host.sessions", () => checkSessions(paths)],
  ];
  const answers = await Promise.all(
    questions.map(([id, ask]) => bounded(id, signal, async () => await ask(), LOCAL_MS)),
  );
  return about({ kind: "host", name: hostname() }, answers.flat());
}
