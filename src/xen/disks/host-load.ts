import type { NbdTarget } from "../../nbd/address.js";

/** The NBD connections that we have open in a pool, by host, and which hosts have failed lately. */
export class HostLoad {
  readonly #open = new Map<string, number>();
  readonly #failedAt = new Map<string, number>();
  readonly #now: () => number;

  /** @param now in milliseconds, never backwards */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Those that failed less than `avoidMs` ago come last, the least used first. */
  sorted(targets: readonly NbdTarget[], avoidMs: number): readonly NbdTarget[] {
    const rank = (target: NbdTarget): readonly [number, number] => {
      const host = hostOf(target);
      const failedAt = this.#failedAt.get(host) ?? -Infinity;
      return [this.#now() - failedAt < avoidMs ? failedAt : -Infinity, this.#open.get(host) ?? 0];
    };
    return targets
      .map((target) => ({ target, rank: rank(target) }))
      .sort((a, b) => compared(a.rank[0], b.rank[0]) || a.rank[1] - b.rank[1])
      .map(({ target }) => target);
  }

  failed(target: NbdTarget): void {
    this.#failedAt.set(hostOf(target), this.#now());
  }

  /** @returns how many of the wanted connections may be opened; at least one */
  take(target: NbdTarget, wanted: number, most: number): number {
    const host = hostOf(target);
    const open = this.#open.get(host) ?? 0;
    const taken = Math.max(1, Math.min(wanted, most - open));
    this.#open.set(host, open + taken);
    return taken;
  }

  giveBack(target: NbdTarget, taken: number): void {
    const host = hostOf(target);
    const open = (this.#open.get(host) ?? 0) - taken;
    if (open > 0) this.#open.set(host, open);
    else this.#open.delete(host);
  }
}

function compared(a: number, b: number): number {
  return a === b ? 0 : a - b;
}

function hostOf({ address }: NbdTarget): string {
  return address.kind === "tcp" ? address.host : address.path;
}
