import type { Config } from "../config.js";
import { parseLocator } from "../locator.js";
import type { Logger } from "../log.js";
import { poolSourceOf } from "../pool-source.js";
import { isXenUrl } from "../xen-url.js";
import { checkFuseDriver } from "./choose-fuse-driver.js";
import {
  chooseServer,
  prepareConnection,
  refuseSnapshotKind,
  refuseToQuiesce,
  type ServerChoice,
} from "./connection.js";
import type { SessionStatus } from "./control-protocol.js";
import type { LaunchedDaemon } from "./launch-daemon.js";
import { checkMountPoint } from "./mount-point.js";
import { startDaemon } from "./start-daemon.js";
import type { StatePaths } from "./state-paths.js";

export interface MountVmOptions {
  readonly config: Config;
  readonly paths: StatePaths;
  readonly choice: ServerChoice;
  readonly logger: Logger;
  /** Launched before anything else, so that it loads meanwhile. */
  readonly daemon: LaunchedDaemon;
  readonly onLog: (line: string) => void;
  readonly onProgress: (what: string, percent: number | undefined) => void;
  readonly signal: AbortSignal;
}

/**
 * Mounts one VM and returns when its tree can be read, with the daemon on its own.
 * @throws every failure after undoing what was made
 */
export async function mountVm(text: string, where: string, options: MountVmOptions): Promise<SessionStatus> {
  const { config, choice } = options;
  // Everything that can be wrong without a server is found before one is asked.
  const locator = parseLocator(text, new Set(config.servers.keys()));
  const mountPoint = await checkMountPoint(where);
  await checkFuseDriver(config.settings, mountPoint);
  const server = chooseServer(config, locator.server, choice);
  if (isXenUrl(server.url)) poolSourceOf(locator.form);
  refuseToQuiesce(server, config.settings);
  refuseSnapshotKind(server, config.settings);
  await options.paths.prepare();
  const { password, ...connection } = await prepareConnection(server, choice);
  return startDaemon(
    options.daemon,
    {
      session: options.daemon.session,
      mountPoint,
      madeMountPoint: false,
      waitsForTurn: false,
      connection: { ...connection, password: password.reveal() },
      locator: { form: locator.form, text },
      settings: config.settings,
    },
    options,
  );
}
