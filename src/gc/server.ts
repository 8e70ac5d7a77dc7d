import type { ConfiguredServer } from "../config.js";
import { isDirUrl } from "../dir-url.js";
import { BusyError, errorChain, UnreachableError } from "../errors.js";
import type { Hypervisor, VmIdentity } from "../hypervisor.js";
import { type Connection, prepareConnection } from "../mount/connection.js";
import { withLockedVm } from "../mount/vm-turn.js";
import { consolidated } from "../snapshot/consolidation.js";
import type { Clocks } from "./age.js";
import { lookAtEach, type UnseenVm } from "./each-vm.js";
import { collectImport, type SeenImport, seenImports } from "./imports.js";
import { markedOrphans, type MarkedSnapshot, markedSnapshots } from "./marked-snapshots.js";
import { needsConsolidation, removeMarked } from "./remove-snapshot.js";
import type { GcAction, GcRow } from "./report.js";
import type { GcSite } from "./site.js";

/** What a look at one VM has found. */
interface SeenVm {
  readonly vm: VmIdentity;
  /** It is gone, and its snapshot is there. */
  readonly isOrphan: boolean;
  readonly marked: readonly MarkedSnapshot[];
  readonly needsConsolidation: boolean;
}

export interface ScanSite extends GcSite {
  /** Sessions of this host's journal that have rows of their own: a snapshot of theirs gets one only when it is removed. */
  readonly told: ReadonlySet<string>;
}

/** The server, and what is known without it. */
interface Asked {
  readonly connection: Connection;
  readonly hypervisor: Hypervisor;
  readonly clocks: () => Clocks;
  readonly told: ReadonlySet<string>;
}

/** What one server has, judged; nothing is changed before `collect`. */
export class GcServer {
  readonly #connection: Connection;
  readonly #hypervisor: Hypervisor;
  readonly #clocks: () => Clocks;
  readonly #seen: readonly SeenVm[];
  readonly #told: ReadonlySet<string>;
  readonly #imports: readonly SeenImport[];
  readonly #rows: GcRow[] = [];

  private constructor(
    { connection, hypervisor, clocks, told }: Asked,
    looks: readonly (SeenVm | UnseenVm)[],
    imports: readonly SeenImport[],
  ) {
    this.#connection = connection;
    this.#hypervisor = hypervisor;
    this.#clocks = clocks;
    this.#told = told;
    this.#imports = imports;
    this.#seen = looks.filter((one): one is SeenVm => !("failure" in one));
    for (const one of looks) if ("failure" in one) this.#tellUnseen(one);
  }

  #tellUnseen({ vm, failure }: UnseenVm): void {
    const nobody = { ref: null, class: null, host: null, ageSeconds: null };
    const { name: server } = this.#connection;
    this.#rows.push({ kind: "vm", server, vm: vm.path, name: vm.name, ...nobody, action: "unasked", reason: failure });
  }

  /**
   * Looks at every VM of the server; undefined for a folder of VMs, which has no snapshots.
   * @throws UnreachableError, AuthError and what else keeps it from being asked
   */
  static async scan(server: ConfiguredServer, site: ScanSite): Promise<GcServer | undefined> {
    if (isDirUrl(server.url)) return undefined;
    const connection = await prepareConnection(server, site.choice);
    const hypervisor = await site.logins.to(connection);
    const clocks = await compareClocks(hypervisor, site.signal);
    const vms = await hypervisor.findVms({ kind: "any" }, site);
    let done = 0;
    const look = async (vm: VmIdentity): Promise<SeenVm> => {
      const marked = await markedSnapshots(vm, hypervisor, clocks, site);
      const isOurs = marked.some(({ classified }) => classified.mark !== undefined);
      const needs = (isOurs || site.consolidate) && (await needsConsolidation(vm, hypervisor, site.signal));
      site.onProgress(`Looking through ${server.name}`, Math.floor((++done / vms.length) * 100));
      return { vm, isOrphan: false, marked, needsConsolidation: needs };
    };
    const seen = await lookAtEach(vms, look, site.signal);
    const looks = [...seen, ...(await orphans(hypervisor, clocks, site))];
    const imports = await seenImports(connection.url, hypervisor, site);
    return new GcServer({ connection, hypervisor, clocks, told: site.told }, looks, imports);
  }

  /** How many snapshots and half imports would go, and VMs be consolidated. */
  plannedCount(site: Pick<GcSite, "consolidate">): number {
    const snapshots = this.#seen
      .flatMap(({ marked }) => marked)
      .filter((marked) => marked.verdict.act === "remove" && !this.#isTold(marked));
    const vms = site.consolidate ? this.#seen.filter(({ needsConsolidation: needs }) => needs) : [];
    const imports = this.#imports.filter(({ verdict }) => verdict.act === "remove");
    return snapshots.length + vms.length + imports.length;
  }

  /** Does what was judged, one VM after the other: removals load the storage. Never rejects but for being stopped. */
  async collect(site: GcSite): Promise<readonly GcRow[]> {
    for (const seen of this.#seen) {
      for (const marked of seen.marked) await this.#collectSnapshot(seen, marked, site);
      if (seen.needsConsolidation) await this.#collectDeltas(seen.vm, site);
    }
    for (const seen of this.#imports) {
      this.#rows.push(await collectImport(seen, this.#connection, this.#hypervisor, site));
    }
    return this.#rows;
  }

  #isTold({ classified }: MarkedSnapshot): boolean {
    return classified.class === "dead-local" && this.#told.has(classified.mark?.session ?? "");
  }

  async #collectSnapshot({ vm, isOrphan }: SeenVm, marked: MarkedSnapshot, site: GcSite): Promise<void> {
    const { snapshot, classified, ageMs, verdict } = marked;
    const tell = (action: GcAction, reason: string): void => {
      if (action !== "removed" && this.#isTold(marked)) return;
      this.#rows.push({
        kind: "snapshot",
        server: this.#connection.name,
        vm: isOrphan ? null : vm.path,
        name: snapshot.name,
        ref: snapshot.ref,
        class: classified.class,
        host: classified.mark?.host ?? null,
        ageSeconds: ageMs === undefined ? null : Math.round(ageMs / 1000),
        action,
        reason,
      });
    };
    if (verdict.act === "leave" || site.dryRun) {
      tell(verdict.act === "leave" ? "left" : "would-remove", verdict.reason);
      return;
    }
    try {
      const left = await removeMarked(
        { vm, url: this.#connection.url, isOrphan, marked },
        this.#hypervisor,
        this.#clocks,
        site,
      );
      tell(left === undefined ? "removed" : "left", left ?? verdict.reason);
    } catch (error) {
      site.signal.throwIfAborted();
      // A mount has begun with the VM since: its own umount, or the next run, sees to the rest.
      tell(isMounted(error) ? "left" : "failed", errorChain(error));
    }
  }

  async #collectDeltas(vm: VmIdentity, site: GcSite): Promise<void> {
    const tell = (action: GcAction, reason: string): void => {
      const nobody = { ref: null, class: null, host: null, ageSeconds: null };
      this.#rows.push({
        kind: "consolidation",
        server: this.#connection.name,
        vm: vm.path,
        name: vm.name,
        ...nobody,
        action,
        reason,
      });
    };
    const what = "its disks need consolidation";
    if (!site.consolidate) {
      tell("left", `${what}, and did so before; see --consolidate`);
      return;
    }
    if (site.dryRun) {
      tell("would-remove", what);
      return;
    }
    const onProgress = (progress: { what: string; percent: number | undefined }): void => {
      site.onProgress(progress.what, progress.percent);
    };
    try {
      const cleanerMs = site.config.settings["snapshot.remove_timeout"];
      const waiting = { signal: site.signal, onProgress: site.onProgress, cleanerMs };
      // A mount may read the files that a merge writes to.
      await withLockedVm(vm, this.#connection.url, { paths: site.paths, waiting }, () =>
        consolidated(vm, this.#hypervisor, { signal: site.signal, onProgress }),
      );
      tell("removed", "its disks are consolidated");
    } catch (error) {
      site.signal.throwIfAborted();
      tell(isMounted(error) ? "left" : "failed", errorChain(error));
    }
  }
}

/** Whether it was a mount that kept us from the VM. */
function isMounted(error: unknown): boolean {
  return error instanceof BusyError && !error.retryable;
}

/** What hangs on no VM any more. */
async function orphans(hypervisor: Hypervisor, clocks: () => Clocks, site: GcSite): Promise<SeenVm[]> {
  return (await markedOrphans(hypervisor, clocks, site)).map((marked) => {
    const { ref, name } = marked.snapshot;
    const gone = {
      ref,
      name: `a deleted VM or disk (${name})`,
      path: "",
      instanceUuid: undefined,
      biosUuid: undefined,
    };
    return {
      vm: { ...gone, powerState: "off", addresses: [] },
      isOrphan: true,
      marked: [marked],
      needsConsolidation: false,
    };
  });
}

/** Our clock and the server's, at any later moment: what has passed since is measured, not read from either. */
async function compareClocks(hypervisor: Hypervisor, signal: AbortSignal): Promise<() => Clocks> {
  const theirs = await hypervisor.health?.clock({ signal }).catch((error: unknown) => {
    if (error instanceof UnreachableError) throw error;
    return undefined;
  });
  const at = { ours: Date.now(), since: performance.now() };
  return () => {
    const passedMs = performance.now() - at.since;
    return {
      ours: new Date(at.ours + passedMs),
      theirs: theirs === undefined ? undefined : new Date(theirs.getTime() + passedMs),
    };
  };
}
