import type { Config } from "../config.js";
import type { VmIdentity } from "../hypervisor.js";
import { type Locator, parseLocator } from "../locator.js";
import type { Logger } from "../log.js";
import { poolSourceOf } from "../pool-source.js";
import { askAgain } from "../server-retry.js";
import type { SessionFacts } from "../snapshot/journal-record.js";
import { isXenUrl } from "../xen-url.js";
import { checkFuseDriver } from "./choose-fuse-driver.js";
import {
  chooseServer,
  type Connection,
  login,
  prepareConnection,
  refuseSnapshotKind,
  refuseSnapshotPolicy,
  refuseToQuiesce,
  type ServerChoice,
} from "./connection.js";
import type { SessionStatus } from "./control-protocol.js";
import type { LaunchedDaemon } from "./launch-daemon.js";
import type { MadeDirectory } from "./made-directory.js";
import { checkMountPoint } from "./mount-point.js";
import { clearEarlierMount, type EarlierMount, removableMount } from "./preexisting-mount.js";
import { resolveVm } from "./resolve-vm.js";
import { startDaemon } from "./start-daemon.js";
import type { StatePaths } from "./state-paths.js";

export interface MountVmOptions {
  readonly config: Config;
  readonly paths: StatePaths;
  readonly choice: ServerChoice;
  readonly logger: Logger;
  /** Launched before anything else, so that it loads meanwhile. */
  readonly daemon: LaunchedDaemon;
  /** The mount point, when it was made for this mount, and the login that named it. */
  readonly made?: MadeDirectory | undefined;
  readonly onLog: (line: string) => void;
  readonly onProgress: (what: string, percent: number | undefined) => void;
  readonly signal: AbortSignal;
}

/**
 * Mounts one VM and returns when its tree can be read, with the daemon on its own.
 * @throws every failure after undoing what was made
 */
export async function mountVm(text: string, where: string, options: MountVmOptions): Promise<SessionStatus> {
  const { config, choice, paths } = options;
  // Everything that can be wrong without a server is found before one is asked.
  const locator = parseLocator(text, new Set(config.servers.keys()), config.settings.lookup);
  // An earlier mount that may go is in the way until the server was asked about it.
  const earlier = await removableMount(where, options);
  let mountPoint = earlier?.mount.mountPoint ?? (await usableMountPoint(where, config));
  const server = chooseServer(config, locator.server, choice);
  if (isXenUrl(server.url)) poolSourceOf(locator.form);
  refuseToQuiesce(server, config.settings);
  refuseSnapshotKind(server, config.settings);
  refuseSnapshotPolicy(server, config.settings);
  await paths.prepare();
  const prepared = options.made?.connection ?? (await prepareConnection(server, choice));
  if (earlier !== undefined) {
    await makeWay(earlier, { ...locator, server: server.name }, prepared, options);
    mountPoint = await usableMountPoint(where, config);
  }
  const { password, ...connection } = prepared;
  return startDaemon(
    options.daemon,
    {
      session: options.daemon.session,
      mountPoint,
      madeMountPoint: options.made?.isNew === true,
      waitsForTurn: false,
      connection: { ...connection, password: password.reveal() },
      locator: { form: locator.form, text },
      settings: config.settings,
    },
    options,
  );
}

async function usableMountPoint(where: string, { settings }: Config): Promise<string> {
  const mountPoint = await checkMountPoint(where);
  await checkFuseDriver(settings, mountPoint);
  return mountPoint;
}

async function makeWay(
  earlier: EarlierMount,
  locator: Locator,
  known: Connection,
  options: MountVmOptions,
): Promise<void> {
  const { logger, signal } = options;
  const isSameVm = async ({ vm, server }: SessionFacts): Promise<boolean> => {
    if (server.url !== known.url) return false;
    const asking = { settings: options.config.settings, logger, signal };
    await using hypervisor = await login(known, asking);
    const resolve = (): Promise<VmIdentity> => resolveVm(hypervisor, locator, { signal });
    const { ref, instanceUuid } = await askAgain("Looking up the VM", resolve, asking);
    return vm.ref === ref && vm.instanceUuid === instanceUuid;
  };
  await clearEarlierMount(earlier, isSameVm, { ...options, known, force: false });
}
