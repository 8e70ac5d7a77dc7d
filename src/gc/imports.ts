import { basename } from "node:path";
import { errorChain } from "../errors.js";
import type { FoundImport, Hypervisor } from "../hypervisor.js";
import { eraseImport, type ImportEntry, listImports } from "../mount/import-record.js";
import { isOfHost, thisHost } from "../snapshot/host.js";
import { readImportMark } from "../snapshot/ownership.js";
import type { GcAction, GcRow } from "./report.js";
import type { GcSite } from "./site.js";
import type { GcRules, Verdict } from "./verdict.js";

/** After this nobody will come back to say whether what was left alone is whole: it is no longer told of. */
const FORGET_MS = 30 * 86_400_000;

/** An import that did not end as it should, and what is to become of what it made. */
export interface SeenImport {
  readonly found: FoundImport;
  /** What this host knows of it. */
  readonly entry: ImportEntry | undefined;
  readonly class: "live" | "dead-local" | "foreign-host";
  /** Machine that made it, where it says. */
  readonly host: string | null;
  readonly ageMs: number | undefined;
  readonly verdict: Verdict;
}

type Judged = Pick<SeenImport, "found" | "entry" | "class" | "host" | "ageMs">;

/**
 * Looks for what imports of this host and of others have left on one server, and forgets those of this host that left
 * nothing. A VM that is complete is nobody's leftover.
 */
export async function seenImports(
  url: string,
  hypervisor: Hypervisor,
  { paths, rules, signal, dryRun }: GcSite,
): Promise<SeenImport[]> {
  const { imports } = hypervisor;
  if (imports === undefined) return [];
  const known = new Map<string, ImportEntry>();
  for (const entry of await listImports(paths)) if (entry.facts.url === url) known.set(entry.facts.task, entry);
  const found = await imports.find([...known.keys()], { signal });
  const seen = found
    .filter(({ state }) => state !== "complete")
    .map((one) => judged(one, known.get(one.task), rules))
    .filter(({ entry, ageMs = 0, verdict }) => entry === undefined || verdict.act === "remove" || ageMs < FORGET_MS);
  for (const [task, { id, isLive }] of known) {
    if (!dryRun && !isLive && !seen.some((one) => one.found.task === task)) await eraseImport(paths, id);
  }
  return seen;
}

/** Rows for imports of this host that died on servers which nobody asks. */
export async function unaskedImports(urls: readonly string[], { paths }: Pick<GcSite, "paths">): Promise<GcRow[]> {
  const dead = (await listImports(paths)).filter(({ facts, isLive }) => !isLive && !urls.includes(facts.url));
  return dead.map(({ facts: { url, backup, started } }) => ({
    kind: "import",
    server: url,
    vm: null,
    name: basename(backup),
    ref: null,
    class: "dead-local",
    host: thisHost().host,
    ageSeconds: Math.max(0, Math.round((Date.now() - Date.parse(started)) / 1000)),
    action: "unasked",
    reason: "vmmount restore died, and its server is not configured: name it by its URL",
  }));
}

function judged(found: FoundImport, entry: ImportEntry | undefined, rules: GcRules): SeenImport {
  const mark = readImportMark(found.description);
  const here = thisHost();
  const isHere = entry !== undefined || (mark !== undefined && isOfHost(mark, here));
  const started = Date.parse(entry?.facts.started ?? mark?.created ?? "");
  const seen: Judged = {
    found,
    entry,
    class: !isHere ? "foreign-host" : entry?.isLive === true ? "live" : "dead-local",
    host: isHere ? here.host : (mark?.host ?? null),
    ageMs: Number.isNaN(started) ? undefined : Math.max(0, Date.now() - started),
  };
  return { ...seen, verdict: judgeImport(seen, rules) };
}

/** Pure: what becomes of what an import has made. Only what cannot be a whole VM is removed. */
export function judgeImport(
  { found, entry, class: kind, host, ageMs }: Judged,
  { allHosts, olderThanMs }: GcRules,
): Verdict {
  const { state, usedBecause } = found;
  const leave = (reason: string): Verdict => ({ act: "leave", reason });
  if (kind === "live") return leave("vmmount restore is at work on it");
  if (state === "complete") return leave("it is complete");
  if (state === "working") return leave("the server is still at work on it");
  if (usedBecause !== undefined) return leave(`somebody uses it: ${usedBecause}`);
  if (kind === "foreign-host" && !allHosts) return leave(`host "${host ?? "?"}" began it; see --all-hosts`);
  if (olderThanMs !== undefined && (ageMs === undefined || ageMs < olderThanMs)) {
    return leave("it is younger than --older-than");
  }
  if (state === "failed") return { act: "remove", reason: "the import failed, and the server has not removed it" };
  if (entry === undefined || entry.step === "sent") {
    return leave("all of it was sent, and the server no longer knows how it ended: look whether the VM is whole");
  }
  const why = entry.step === "failed" ? "the import failed" : "vmmount restore died before all of it was sent";
  return { act: "remove", reason: why };
}

/** Does what was judged. Never rejects but for being stopped. */
export async function collectImport(
  seen: SeenImport,
  server: { readonly name: string; readonly url: string },
  hypervisor: Hypervisor,
  site: GcSite,
): Promise<GcRow> {
  const { found, verdict, ageMs } = seen;
  const [vm] = found.vms;
  const row = (action: GcAction, reason: string): GcRow => ({
    kind: "import",
    server: server.name,
    vm: null,
    name: vm?.name ?? `${found.disks} disks`,
    ref: vm?.ref ?? found.task,
    class: seen.class,
    host: seen.host,
    ageSeconds: ageMs === undefined ? null : Math.round(ageMs / 1000),
    action,
    reason,
  });
  if (verdict.act === "leave") return row("left", verdict.reason);
  if (site.dryRun) return row("would-remove", verdict.reason);
  try {
    // What was seen may be a while ago: somebody may have begun to use it.
    const again = (await seenImports(server.url, hypervisor, site)).find((one) => one.found.task === found.task);
    // Only what is still to go: one that is not seen any more is complete or gone.
    if (again?.verdict.act !== "remove") return row("left", again?.verdict.reason ?? "it is complete or gone by now");
    await hypervisor.imports?.remove(found.task, { signal: site.signal });
    site.logger.info(`Removed what a dead import left of "${vm?.name ?? found.task}"`);
    // Nothing is left by now, so that this forgets it.
    await seenImports(server.url, hypervisor, site);
    return row("removed", verdict.reason);
  } catch (error) {
    site.signal.throwIfAborted();
    return row("failed", errorChain(error));
  }
}
