/**
 * Shapes of the vSphere types as text: `Base | name:type name?:type name[]:type name[]?:type`. Fields stand in wire
 * order; `?` is optional, `[]` a repeated element, `ref` any managed object reference. A type without a shape is an
 * enumeration when it holds text, and opaque to the lab otherwise.
 */
export type SchemaText = Readonly<Record<string, string>>;

export interface Field {
  readonly name: string;
  readonly type: string;
  readonly array: boolean;
  readonly optional: boolean;
}

export interface Shape {
  readonly name: string;
  /** Itself first, then its bases up to the top. */
  readonly lineage: readonly string[];
  /** Inherited fields first, as on the wire. */
  readonly fields: readonly Field[];
}

const FIELD = /^(\w+)(\[\])?(\?)?:(\w+)$/;

export function parseFields(text: string): Field[] {
  return text
    .split(/\s+/)
    .filter((word) => word !== "")
    .map((word) => {
      const match = FIELD.exec(word);
      if (match?.[1] === undefined || match[4] === undefined) throw new SyntaxError(`"${word}" is not a field`);
      return { name: match[1], type: match[4], array: match[2] !== undefined, optional: match[3] !== undefined };
    });
}

/** Looks shapes up by name and keeps what it has parsed. */
export class ShapeTable {
  readonly #texts: SchemaText;
  readonly #shapes = new Map<string, Shape>();

  constructor(texts: SchemaText) {
    this.#texts = texts;
  }

  find(name: string): Shape | undefined {
    const known = this.#shapes.get(name);
    if (known !== undefined) return known;
    // A name comes from the wire: "constructor" must not find Object.prototype.
    const text = Object.hasOwn(this.#texts, name) ? this.#texts[name] : undefined;
    if (text === undefined) return undefined;
    const bar = text.indexOf("|");
    const base = bar < 0 ? undefined : this.find(text.slice(0, bar).trim());
    const shape = {
      name,
      lineage: [name, ...(base?.lineage ?? [])],
      fields: [...(base?.fields ?? []), ...parseFields(text.slice(bar + 1))],
    };
    this.#shapes.set(name, shape);
    return shape;
  }
}
