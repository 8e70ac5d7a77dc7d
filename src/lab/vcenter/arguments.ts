import { decodeFields } from "./decode.js";
import type { Field } from "./schema/grammar.js";
import { isData, isList, isMoref, type Data, type Moref, type Value } from "./values.js";
import type { Element } from "./xml.js";

/** Decoded fields of a call or of a data object, read by type. Decoding has checked presence and form already. */
export class Arguments {
  readonly #values: Readonly<Record<string, Value | undefined>>;

  constructor(values: Readonly<Record<string, Value | undefined>>) {
    this.#values = values;
  }

  static ofCall(children: readonly Element[], fields: readonly Field[], method: string): Arguments {
    return new Arguments(decodeFields(children, fields, `call information for method ${method}`));
  }

  text(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === "string" ? value : undefined;
  }

  flag(name: string): boolean | undefined {
    const value = this.#values[name];
    return typeof value === "boolean" ? value : undefined;
  }

  integer(name: string): number | undefined {
    const value = this.#values[name];
    return typeof value === "number" ? value : undefined;
  }

  ref(name: string): Moref | undefined {
    const value = this.#values[name];
    return isMoref(value) ? value : undefined;
  }

  data(name: string): Data | undefined {
    const value = this.#values[name];
    return isData(value) ? value : undefined;
  }

  /** The data object `name` as arguments of its own. */
  inner(name: string): Arguments | undefined {
    const value = this.data(name);
    return value === undefined ? undefined : new Arguments(value.fields);
  }

  texts(name: string): string[] {
    return this.#list(name).filter((item) => typeof item === "string");
  }

  refs(name: string): Moref[] {
    return this.#list(name).filter(isMoref);
  }

  each(name: string): Data[] {
    return this.#list(name).filter(isData);
  }

  #list(name: string): readonly Value[] {
    const value = this.#values[name];
    return isList(value) ? value : [];
  }
}
