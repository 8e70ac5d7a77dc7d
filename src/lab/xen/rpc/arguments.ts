import { hasClass } from "../database/classes.js";
import type { Database } from "../database/database.js";
import { XapiFault } from "../fault.js";
import { isSince, PROFILES, type ProfileName } from "../profile.js";
import { Double, isList, isMap, NULL_REF, parseDate, type Value } from "../value.js";

export type ArgumentType =
  "string" | "int" | "float" | "bool" | "date" | "ref" | "set" | "refs" | "map" | "record" | "any";

export interface Parameter {
  readonly name: string;
  readonly type: ArgumentType;
  /** The class of a reference that must exist; references without one may dangle. */
  readonly className: string | undefined;
  readonly isOptional: boolean;
  readonly since: ProfileName | undefined;
}

const PARAMETER = /^(\w+)(?::(\w+)(\[\])?)?(\?)?(?:@([\d.]+))?$/;
const TYPES = new Set(["string", "int", "float", "bool", "date", "ref", "set", "refs", "map", "record", "any"]);

/** Reads `vm:VM new_name ignore_vdis:VDI[]?@8.3`: a type, or a class for references that must exist; `?` may be left out. */
export function parseParameters(text: string): readonly Parameter[] {
  if (text === "") return [];
  return text.split(/\s+/).map((word) => {
    const match = PARAMETER.exec(word);
    if (match === null) throw new RangeError(`The lab has a parameter that cannot be read: ${word}`);
    const [, name = "", type = "string", list, optional, since] = match;
    const isClass = !TYPES.has(type);
    return {
      name,
      type: isClass ? (list === undefined ? "ref" : "refs") : (type as ArgumentType),
      className: isClass ? type : undefined,
      isOptional: optional !== undefined,
      since: PROFILES.find((known) => known === since),
    };
  });
}

export function parametersFor(parameters: readonly Parameter[], profile: ProfileName): readonly Parameter[] {
  return parameters.filter(({ since }) => isSince(profile, since));
}

/** The parameters of one call, each of the type that its method wants. */
export class Arguments {
  readonly #values: ReadonlyMap<string, Value>;

  constructor(values: ReadonlyMap<string, Value>) {
    this.#values = values;
  }

  /** @throws XapiFault MESSAGE_PARAMETER_COUNT_MISMATCH, FIELD_TYPE_ERROR */
  static read(method: string, parameters: readonly Parameter[], given: readonly Value[]): Arguments {
    const needed = parameters.filter(({ isOptional }) => !isOptional).length;
    if (given.length < needed || given.length > parameters.length) {
      throw new XapiFault("MESSAGE_PARAMETER_COUNT_MISMATCH", method, String(needed), String(given.length));
    }
    const values = parameters.flatMap(({ name, type }, index): [string, Value][] => {
      const value = given[index];
      return value === undefined ? [] : [[name, typed(name, type, value)]];
    });
    return new Arguments(new Map(values));
  }

  /** @throws XapiFault HANDLE_INVALID for a reference to nothing */
  assertReferences(parameters: readonly Parameter[], database: Database): void {
    for (const { name, type, className } of parameters) {
      if (className === undefined || !hasClass(className, database.profile.name)) continue;
      const refs = type === "ref" ? [this.text(name)] : this.texts(name);
      for (const ref of refs) if (this.has(name)) database.row(className, ref);
    }
  }

  has(name: string): boolean {
    return this.#values.has(name);
  }

  value(name: string): Value {
    return this.#values.get(name) ?? "";
  }

  /** Text or a reference; "" when left out. */
  text(name: string): string {
    const value = this.value(name);
    return typeof value === "string" ? value : "";
  }

  texts(name: string): readonly string[] {
    const value = this.value(name);
    return isList(value) ? value.filter((one) => typeof one === "string") : [];
  }

  number(name: string): number {
    const value = this.value(name);
    return value instanceof Double ? value.value : Number(value);
  }

  flag(name: string): boolean {
    return this.value(name) === true;
  }

  map(name: string): Readonly<Record<string, Value>> {
    const value = this.value(name);
    return isMap(value) ? value : {};
  }

  /** Every reference among the parameters, for rules. */
  references(): string[] {
    return [...this.#values.values()].flatMap((value) => {
      const texts = isList(value) ? value : isMap(value) ? Object.values(value) : [value];
      return texts.filter(
        (one): one is string => typeof one === "string" && one.startsWith("OpaqueRef:") && one !== NULL_REF,
      );
    });
  }
}

/** A value as one type, as XAPI's unmarshaller takes it. @throws XapiFault FIELD_TYPE_ERROR */
export function typed(name: string, type: ArgumentType, value: Value): Value {
  const wrong = (): never => {
    throw new XapiFault("FIELD_TYPE_ERROR", name);
  };
  switch (type) {
    case "string":
    case "ref":
      return typeof value === "string" ? value : wrong();
    case "int":
      if (typeof value === "number") return value;
      return typeof value === "string" && /^-?\d+$/.test(value) ? Number(value) : wrong();
    case "float":
      if (typeof value === "number") return new Double(value);
      return value instanceof Double ? value : wrong();
    case "bool":
      return typeof value === "boolean" ? value : wrong();
    case "date":
      if (value instanceof Date) return value;
      return typeof value === "string" ? parsedDate(name, value) : wrong();
    case "set":
    case "refs":
      return isList(value) && value.every((one) => typeof one === "string") ? value : wrong();
    case "map":
      return isMap(value) && Object.values(value).every((one) => typeof one === "string") ? value : wrong();
    case "record":
      return isMap(value) ? value : wrong();
    case "any":
      return value;
  }
}

function parsedDate(name: string, text: string): Date {
  try {
    return parseDate(text);
  } catch {
    // Only the form can be wrong.
    throw new XapiFault("FIELD_TYPE_ERROR", name);
  }
}
