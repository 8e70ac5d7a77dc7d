import { hostname } from "node:os";
import pLimit from "p-limit";
import type { CleanupStack } from "../cleanup.js";
import { Secret } from "../credentials.js";
import { IntegrityError, RefusedError, SnapshotError } from "../errors.js";
import type { FuseDriver, Mounted } from "../fs/fuse-driver.js";
import { diskFileNames } from "../fs/vm-catalog.js";
import type { VmArchive } from "../fs/vm-contents.js";
import { vmTree } from "../fs/vm-tree.js";
import {
  type ConfigFile,
  type DiskDescription,
  diskNodeName,
  type Hypervisor,
  type OpenedDisk,
  type Progress,
  type VmDescription,
  type VmIdentity,
} from "../hypervisor.js";
import type { Logger } from "../log.js";
import { serverRetryPolicy, type SnapshotPolicy } from "../settings.js";
import { type Asking, askAgain } from "../server-retry.js";
import { FileJournal } from "../snapshot/journal.js";
import { thisBoot, thisHost } from "../snapshot/host.js";
import { snapshotName } from "../snapshot/ownership.js";
import { SnapshotSession } from "../snapshot/session.js";
import { VERSION } from "../version.js";
import type { BlockStack, StackedDisk } from "./block-stack.js";
import { journaledServer } from "./connection.js";
import type { DiskStatus } from "./control-protocol.js";
import type { MountRequest, VmPlace } from "./daemon-protocol.js";
import type { DiskTransports } from "./disk-transports.js";
import { asItLiesThere, type Frozen } from "./frozen.js";
import { memoryShares } from "./memory-shares.js";
import { mountSource } from "./mount-source.js";
import { resolveVm } from "./resolve-vm.js";
import type { StatePaths } from "./state-paths.js";

/** Each asks for its holes and samples them; more at a time only wait for the same few connections. */
const OPENING_MAX = 4;

export interface MountContext {
  readonly request: MountRequest;
  readonly driver: FuseDriver;
  /** This program, which runs as the VDDK host too. */
  readonly program: string;
  readonly logger: Logger;
  readonly onProgress: (progress: Progress) => void;
  /** Aborted to give up before the mount is ready. */
  readonly signal: AbortSignal;
  /** Resolves when the snapshot may be made; absent: at once. */
  readonly awaitTurn?: ((place: VmPlace) => Promise<void>) | undefined;
}

export interface ShownDisk extends StackedDisk {
  readonly opened: OpenedDisk;
  readonly key: string;
}

/** How a mount asks its server. */
export function askingOf({ request, logger, signal }: Pick<MountContext, "request" | "logger" | "signal">): Asking {
  return { settings: request.settings, logger, signal };
}

/** The VM that the request names, as it is now. @throws what resolveVm throws */
export async function lookUp(hypervisor: Hypervisor, context: MountContext): Promise<VmDescription> {
  const { request, signal } = context;
  const locator = { ...request.locator, server: request.connection.name };
  const resolve = (): Promise<VmIdentity> => resolveVm(hypervisor, locator, { signal });
  const { ref } = await askAgain("Looking up the VM", resolve, askingOf(context));
  return askAgain("Looking at the VM", () => hypervisor.describeVm(ref, { signal }), askingOf(context));
}

export function refuseHopeless(vm: VmDescription, policy: SnapshotPolicy): void {
  const { name } = vm.identity;
  const [obstacle] = policy === "manual" || policy === "deleteonly" ? [] : vm.snapshotObstacles;
  if (obstacle !== undefined) throw new SnapshotError(`Cannot create a snapshot of "${name}": ${obstacle}`);
  if (vm.disks.every((disk) => disk.excludedBecause !== undefined)) {
    const reasons = vm.disks.map((disk) => `${disk.label}: ${disk.excludedBecause ?? ""}`).join("; ");
    throw new RefusedError(`Cannot mount "${name}": none of its disks can be read`, {
      hint: reasons === "" ? "The VM has no disks" : reasons,
    });
  }
}

export async function openJournal(
  { request }: MountContext,
  paths: StatePaths,
  vm: Pick<VmDescription["identity"], "ref" | "instanceUuid" | "name" | "path"> & {
    readonly consolidationNeeded?: boolean;
  },
  server: { readonly makes: Hypervisor["snapshots"]; readonly place?: VmPlace } & Pick<
    DiskTransports,
    "accessIdentity" | "mayAttach"
  >,
): Promise<FileJournal> {
  const journal = await FileJournal.create(paths.journal(request.session), request.session);
  const { ref, instanceUuid, name, path, consolidationNeeded } = vm;
  const policy = request.settings["snapshot.policy"];
  const makes = server.makes === "supported" && (policy === "automatic" || policy === "createonly");
  try {
    await journal.append({
      event: "planned",
      facts: {
        mountPoint: request.mountPoint,
        ...(request.madeMountPoint && { madeMountPoint: true }),
        ...(server.place !== undefined && { place: { ...server.place, storages: [...server.place.storages] } }),
        host: hostname(),
        boot: thisBoot(),
        pid: process.pid,
        server: journaledServer({ ...request.connection, password: new Secret("") }),
        vm: { ref, name, path, ...(instanceUuid !== undefined && { instanceUuid }) },
        ...(makes && { snapshotName: snapshotName(request.session) }),
        policy,
        ...(consolidationNeeded === true && { neededConsolidation: true }),
        ...(server.accessIdentity !== undefined && { accessIdentity: server.accessIdentity }),
        ...(server.mayAttach && { mayAttach: true }),
      },
    });
    return journal;
  } catch (error) {
    // Nothing was begun: an empty journal would be a dead session for ever.
    await journal.erase();
    await journal[Symbol.asyncDispose]();
    throw error;
  }
}

export function newSnapshotSession(
  context: MountContext,
  hypervisor: Hypervisor,
  journal: FileJournal,
  vm: VmDescription,
): SnapshotSession {
  const { settings, session, mountPoint } = context.request;
  return new SnapshotSession({
    id: session,
    vm,
    hypervisor,
    journal,
    logger: context.logger,
    ownership: {
      version: VERSION,
      ...thisHost(),
      mountPoint,
      created: new Date().toISOString(),
      policy: settings["snapshot.policy"],
      maxAgeMs: settings["snapshot.max_age"],
    },
    policy: settings["snapshot.policy"],
    use: settings["snapshot.use"],
    quiesce: settings["snapshot.quiesce"],
    kind: settings["snapshot.kind"],
    retry: serverRetryPolicy(settings),
    createTimeoutMs: settings["snapshot.timeout"],
    quiesceTimeoutMs: settings["snapshot.quiesce_timeout"],
    removeTimeoutMs: settings["snapshot.remove_timeout"],
    onProgress: context.onProgress,
  });
}

/** The VM as its new snapshot holds it: its disks may have moved since it was looked at first. */
export async function freeze(
  hypervisor: Hypervisor,
  snapshots: SnapshotSession,
  vm: VmDescription,
  context: MountContext,
): Promise<Frozen> {
  const { logger, signal, onProgress } = context;
  if (hypervisor.snapshots === "none") return asItLiesThere(vm, logger);
  onProgress({ what: `Creating a snapshot of "${vm.identity.name}"`, percent: undefined });
  const { snapshot, consistency } = await snapshots.obtain(signal);
  const isOurs = snapshots.state.name === "created";
  logger.info(`${isOurs ? "Created" : "Using"} snapshot "${snapshot.name}" of "${vm.identity.name}" (${consistency})`);
  const look = (): Promise<VmDescription> => hypervisor.describeVm(vm.identity.ref, { signal, snapshot: snapshot.ref });
  const frozen = await askAgain("Looking at the snapshot", look, askingOf(context));
  // A server that hides the snapshot's hardware answers like one without disks: the backup would be empty and look well.
  const lost = vm.disks.filter(
    (disk) => disk.excludedBecause === undefined && !frozen.disks.some(({ key }) => key === disk.key),
  );
  if (lost.length > 0 && !isOurs) {
    const added = lost.map((disk) => ({ ...disk, excludedBecause: "it was added after the snapshot was made" }));
    return { vm: { ...frozen, disks: [...frozen.disks, ...added] }, snapshot, consistency };
  }
  if (lost.length > 0) {
    const labels = lost.map(({ label }) => label).join(", ");
    throw new IntegrityError(
      `Cannot mount "${vm.identity.name}": snapshot "${snapshot.name}" does not show ${labels}`,
      { hint: "The account may lack System.Read on the VM, or the disk was removed a moment ago: try again" },
    );
  }
  // Some servers leave such disks out of the snapshot: whoever reads the backup must learn that they are missing.
  const leftOut = vm.disks.filter(
    (disk) => disk.excludedBecause !== undefined && !frozen.disks.some(({ key }) => key === disk.key),
  );
  return { vm: { ...frozen, disks: [...frozen.disks, ...leftOut] }, snapshot, consistency };
}

/** Configuration files and disks, which do not wait for each other; whatever fails, neither is still under way. */
export async function openAll(
  { hypervisor, transports }: { readonly hypervisor: Hypervisor; readonly transports: DiskTransports },
  facts: Frozen,
  stack: BlockStack,
  context: MountContext,
  undo: CleanupStack,
): Promise<{ configFiles: ConfigFile[]; disks: ShownDisk[] }> {
  const readConfig = (): Promise<ConfigFile[]> =>
    hypervisor.readConfig(facts.vm.identity.ref, { signal: context.signal, snapshot: facts.snapshot.ref });
  const [configFiles, disks] = await Promise.allSettled([
    askAgain("Reading the configuration files", readConfig, askingOf(context)),
    openDisks(transports, facts, stack, context, undo),
  ]);
  if (configFiles.status === "rejected") throw configFiles.reason;
  if (disks.status === "rejected") throw disks.reason;
  return { configFiles: configFiles.value, disks: disks.value };
}

export async function openDisks(
  transports: Pick<DiskTransports, "open">,
  facts: Frozen,
  stack: BlockStack,
  context: MountContext,
  undo: CleanupStack,
): Promise<ShownDisk[]> {
  const { name } = facts.vm.identity;
  const included: DiskDescription[] = [];
  for (const disk of facts.vm.disks) {
    if (disk.excludedBecause === undefined) included.push(disk);
    else context.logger.warn(`${shownDisk(disk)} of "${name}" is NOT in this backup: ${disk.excludedBecause}`);
  }
  const turn = pLimit(OPENING_MAX);
  const opening = included.map((disk) => turn(() => openDisk(disk, transports, facts, { stack, context, undo })));
  const opened = await Promise.allSettled(opening);
  return opened.map((one) => {
    if (one.status === "rejected") throw one.reason;
    return one.value;
  });
}

async function openDisk(
  disk: DiskDescription,
  transports: Pick<DiskTransports, "open">,
  { snapshot }: Frozen,
  parts: { readonly stack: BlockStack; readonly context: MountContext; readonly undo: CleanupStack },
): Promise<ShownDisk> {
  const { stack, undo } = parts;
  const { logger, signal } = parts.context;
  const name = shownDisk(disk);
  const opened = await transports.open(disk, snapshot.ref, signal);
  const kind = opened.transport === "file" ? "local" : "remote";
  const stacked = await stack.stack(opened.source, name, { kind, signal }).catch(async (error: unknown) => {
    await opened.source[Symbol.asyncDispose]();
    throw error;
  });
  undo.use(`close ${name}`, stacked.source);
  logger.info(`${name}: ${disk.path} over ${opened.transport}; ${opened.allocation}`);
  return { ...stacked, opened, key: disk.key };
}

function shownDisk({ label, node }: DiskDescription): string {
  return `${label} (${diskNodeName(node)})`;
}

export async function showTree(
  parts: {
    readonly context: MountContext;
    readonly hypervisor: Hypervisor;
    readonly facts: Frozen;
    readonly configFiles: readonly ConfigFile[];
    readonly archives: readonly VmArchive[];
    readonly disks: readonly ShownDisk[];
  },
  undo: CleanupStack,
): Promise<Mounted> {
  const { context, hypervisor, facts } = parts;
  const { settings, session, mountPoint } = context.request;
  const tree = vmTree({
    server: hypervisor.identity,
    vm: facts.vm,
    snapshot: facts.snapshot,
    consistency: facts.consistency,
    configFiles: parts.configFiles,
    archives: parts.archives,
    disks: parts.disks.map(({ key, source, extents, opened }) => ({
      key,
      source,
      extents,
      transport: opened.transport,
      refused: opened.refused ?? [],
      allocation: opened.allocation,
    })),
    owner: { uid: settings["mount.uid"], gid: settings["mount.gid"], fileMode: settings["mount.mode"] },
  });
  const mounted = await context.driver.mount(tree, mountPoint, {
    source: mountSource(session),
    allowOther: settings["mount.allow_other"],
    replyBytesMax: memoryShares(settings["mount.cache_size"]).replyBytes,
    // Who may enter without allow_other: whoever mounts. The files' owner is another matter.
    uid: process.geteuid?.() ?? 0,
    gid: process.getegid?.() ?? 0,
  });
  return undo.use("detach the mount", mounted);
}

export function diskStatuses(vm: VmDescription, disks: readonly ShownDisk[]): DiskStatus[] {
  return vm.disks.map((disk) => {
    const shown = disks.find(({ key }) => key === disk.key);
    return {
      node: diskNodeName(disk.node),
      label: disk.label,
      capacity: disk.capacity,
      allocated: shown?.extents?.allocated ?? disk.capacity,
      included: shown !== undefined,
      ...(disk.excludedBecause !== undefined && { reason: disk.excludedBecause }),
      ...(shown !== undefined && {
        file: diskFileNames(disk).image,
        transport: shown.opened.transport,
        allocation: shown.opened.allocation,
        refused: [...(shown.opened.refused ?? [])],
      }),
    };
  });
}
