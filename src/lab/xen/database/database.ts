import { XapiFault } from "../fault.js";
import type { Profile } from "../profile.js";
import { newRef, NULL_REF, textOf, type Value } from "../value.js";
import { CLASS_NAMES, classShape, fieldsOf, TRANSIENT, watchedReferences } from "./classes.js";

export type Row = Readonly<Record<string, Value>>;

/** One object as the database keeps it: with every field of every release, without the computed ones. */
interface Stored {
  row: Record<string, Value>;
  readonly created: number;
  modified: number;
}

/** Something that has happened to an object, for event.from. */
export interface Change {
  readonly kind: "add" | "mod" | "del";
  readonly className: string;
  readonly ref: string;
}

/** Deletions that are remembered; a client that asks for older ones has lost events. */
const DELETIONS_MAX = 5000;

/** Computes fields that depend on the state of the pool: allowed_operations, sizes. */
export type Compute = (ref: string, row: Row) => Readonly<Record<string, Value>>;

/** The objects of the pool. Lists that point back (VM.VBDs, SR.VDIs) are computed and kept nowhere. */
export class Database {
  readonly profile: Profile;
  readonly #classes = new Map<string, Map<string, Stored>>(CLASS_NAMES.map((name) => [name, new Map()]));
  readonly #computed = new Map<string, Compute>();
  readonly #listeners = new Set<() => void>();
  readonly #deletions: { readonly at: number; readonly created: number; readonly change: Change }[] = [];
  #generation = 1;
  #forgotten = 0;
  #persistent = 1;

  constructor(profile: Profile) {
    this.profile = profile;
  }

  /** Goes up with every change. */
  get generation(): number {
    return this.#generation;
  }

  /** Goes up with every change of an object that outlives the process. */
  get persistentGeneration(): number {
    return this.#persistent;
  }

  compute(className: string, compute: Compute): void {
    this.#computed.set(className, compute);
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Makes an object; what is not given has its first value. @returns its reference */
  create(className: string, fields: Row, ref = newRef()): string {
    const row: Record<string, Value> = {};
    for (const field of classShape(className)?.fields.values() ?? []) {
      if (field.derived === undefined) row[field.name] = fields[field.name] ?? field.initial;
    }
    const at = this.#next(className);
    this.#table(className).set(ref, { row, created: at, modified: at });
    for (const via of watchedReferences(className)) this.#touchTarget(row[via]);
    this.#tell();
    return ref;
  }

  /** @throws XapiFault HANDLE_INVALID */
  row(className: string, ref: string): Row {
    return this.#stored(className, ref).row;
  }

  /** Generations in which an object was made and last changed. @throws XapiFault HANDLE_INVALID */
  generations(className: string, ref: string): { readonly created: number; readonly modified: number } {
    return this.#stored(className, ref);
  }

  has(className: string, ref: string): boolean {
    return this.#table(className).has(ref);
  }

  text(className: string, ref: string, field: string): string {
    return textOf(this.row(className, ref)[field]);
  }

  refs(className: string): string[] {
    return [...this.#table(className).keys()];
  }

  rows(className: string): [ref: string, row: Row][] {
    return [...this.#table(className)].map(([ref, { row }]) => [ref, row]);
  }

  /** References of the objects whose field has this value. */
  where(className: string, field: string, value: Value): string[] {
    return this.rows(className).flatMap(([ref, row]) => (row[field] === value ? [ref] : []));
  }

  /** @throws XapiFault UUID_INVALID */
  byUuid(className: string, uuid: string): string {
    const [found] = this.where(className, "uuid", uuid);
    if (found === undefined) throw new XapiFault("UUID_INVALID", className, uuid);
    return found;
  }

  /** @throws XapiFault HANDLE_INVALID */
  update(className: string, ref: string, changes: Row): void {
    const stored = this.#stored(className, ref);
    for (const via of watchedReferences(className)) {
      if (changes[via] === undefined || changes[via] === stored.row[via]) continue;
      this.#touchTarget(stored.row[via]);
      this.#touchTarget(changes[via]);
    }
    Object.assign(stored.row, changes);
    stored.modified = this.#next(className);
    this.#tell();
  }

  delete(className: string, ref: string): void {
    const stored = this.#stored(className, ref);
    this.#table(className).delete(ref);
    const change: Change = { kind: "del", className, ref };
    this.#deletions.push({ at: this.#next(className), created: stored.created, change });
    if (this.#deletions.length > DELETIONS_MAX) this.#forgotten = this.#deletions.shift()?.at ?? this.#forgotten;
    for (const via of watchedReferences(className)) this.#touchTarget(stored.row[via]);
    this.#tell();
  }

  /** Counts an object as changed, though no field of it is: its computed fields are. */
  touch(className: string, ref: string): void {
    const stored = this.#table(className).get(ref);
    if (stored === undefined) return;
    stored.modified = this.#next("task");
    this.#tell();
  }

  /** The whole record with computed fields, as this release shows it. @throws XapiFault HANDLE_INVALID */
  record(className: string, ref: string): Record<string, Value> {
    const row = this.row(className, ref);
    const computed = this.#computed.get(className)?.(ref, row) ?? {};
    const record: Record<string, Value> = {};
    for (const { name, derived } of fieldsOf(className, this.profile.name)) {
      record[name] =
        derived === undefined ? (computed[name] ?? row[name] ?? "") : this.where(derived.from, derived.field, ref);
    }
    return record;
  }

  /** One field of the record; undefined when this release has no such field. */
  field(className: string, ref: string, name: string): Value | undefined {
    return this.record(className, ref)[name];
  }

  /** What has changed since a generation; undefined when that is too long ago to know. */
  changesSince(generation: number): Change[] | undefined {
    if (generation !== 0 && generation < this.#forgotten) return undefined;
    const changes: Change[] = [];
    for (const [className, table] of this.#classes) {
      for (const [ref, { created, modified }] of table) {
        if (modified > generation) changes.push({ kind: created > generation ? "add" : "mod", className, ref });
      }
    }
    const gone = this.#deletions.filter(({ at, created }) => at > generation && created <= generation);
    return [...changes, ...gone.map(({ change }) => change)];
  }

  /** Objects of every class. */
  counts(): Record<string, number> {
    return Object.fromEntries([...this.#classes].map(([name, table]) => [name, table.size]));
  }

  #next(className: string): number {
    if (!TRANSIENT.has(className)) this.#persistent++;
    return ++this.#generation;
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  #touchTarget(ref: Value | undefined): void {
    if (typeof ref !== "string" || ref === NULL_REF) return;
    for (const table of this.#classes.values()) {
      const stored = table.get(ref);
      if (stored !== undefined) stored.modified = ++this.#generation;
    }
  }

  #table(className: string): Map<string, Stored> {
    const table = this.#classes.get(className);
    if (table === undefined) throw new XapiFault("INTERNAL_ERROR", `The lab knows no class ${className}`);
    return table;
  }

  #stored(className: string, ref: string): Stored {
    const stored = this.#table(className).get(ref);
    if (stored === undefined) throw new XapiFault("HANDLE_INVALID", className, ref);
    return stored;
  }
}
