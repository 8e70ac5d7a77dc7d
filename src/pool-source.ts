import { UsageError } from "./errors.js";
import type { LocatorForm } from "./locator.js";

/** What a Xen pool keeps about itself rather than about one VM. */
export type PoolSource =
  /** Its database, and the records of every VM. */
  | { readonly kind: "meta-data" }
  /** The system disk of every host, or of the one with this name or UUID. */
  | { readonly kind: "host-backup"; readonly host: string | undefined };

/**
 * `/meta-data`, `/host-backup` and `/host-backup/HOST`, SEP sesam's names for them. A VM of such a name is still reached by
 * `name:` or its UUID.
 * @returns undefined for what names VMs
 * @throws UsageError for more than a host
 */
export function poolSourceOf(form: LocatorForm): PoolSource | undefined {
  if (form.kind !== "path") return undefined;
  const [word, host, ...more] = form.path;
  if (word !== "meta-data" && word !== "host-backup") return undefined;
  if (more.length > 0 || (word === "meta-data" && host !== undefined)) {
    throw new UsageError(`Cannot use "/${form.path.join("/")}": it is /meta-data, /host-backup or /host-backup/HOST`);
  }
  return word === "meta-data" ? { kind: word } : { kind: word, host };
}

/** As a user writes it. */
export function poolSourcePath(source: PoolSource): string {
  const host = source.kind === "host-backup" ? source.host : undefined;
  return host === undefined ? `/${source.kind}` : `/${source.kind}/${host}`;
}
