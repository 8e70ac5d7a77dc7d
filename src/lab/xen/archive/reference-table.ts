import { isList, NULL_REF, textOf, type Value } from "../value.js";

/** Counts on from export to export for as long as the process lives, so that ids differ each time. */
export class ReferenceNumbers {
  #last = 0;

  next(): string {
    this.#last++;
    return `Ref:${this.#last}`;
  }
}

export interface Referenced {
  readonly className: string;
  readonly ref: string;
  readonly id: string;
}

/** The objects of one archive and their ids in it. */
export class ReferenceTable {
  readonly #numbers: ReferenceNumbers;
  readonly #entries = new Map<string, Referenced>();
  #dangling: string | undefined;

  constructor(numbers: ReferenceNumbers) {
    this.#numbers = numbers;
  }

  /** @returns whether the object is new */
  add(className: string, ref: string): boolean {
    if (ref === NULL_REF || this.#entries.has(ref)) return false;
    this.#entries.set(ref, { className, ref, id: this.#numbers.next() });
    return true;
  }

  of(className: string): Referenced[] {
    return [...this.#entries.values()].filter((entry) => entry.className === className);
  }

  /** Another object's reference is no reference in the archive. */
  id(ref: Value | undefined): string {
    return this.#entries.get(textOf(ref))?.id ?? NULL_REF;
  }

  ids(refs: Value | undefined): string[] {
    if (refs === undefined || !isList(refs)) return [];
    return refs.flatMap((ref) => this.#entries.get(textOf(ref))?.id ?? []);
  }

  /** As `id`, but NULL gets an id of its own that names no object: so real hosts do it in four fields of VMs. */
  idOrDangling(ref: Value | undefined): string {
    if (ref !== NULL_REF) return this.id(ref);
    this.#dangling ??= this.#numbers.next();
    return this.#dangling;
  }
}
