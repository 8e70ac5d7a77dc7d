import { PROFILES, type ProfileName } from "../profile.js";
import { Double, EPOCH, NULL_REF, type Value } from "../value.js";

/** `set` holds texts, `refs` references; `map` maps texts to texts, `refmap` texts to references. */
export type FieldType = "string" | "int" | "float" | "bool" | "date" | "ref" | "set" | "refs" | "map" | "refmap";

export interface Field {
  /** As on the wire: `name_label`. */
  readonly name: string;
  /** As in the database, its dump and expressions: `name__label`. */
  readonly databaseName: string;
  readonly type: FieldType;
  /** Whether clients may set it. */
  readonly isSettable: boolean;
  readonly since: ProfileName | undefined;
  readonly initial: Value;
  /** Computed: the objects of a class whose field points here. */
  readonly derived: { readonly from: string; readonly field: string } | undefined;
}

const FIELD = /^([\w/]+)(\*?)(?::(\w+))?(?:=([^@]*))?(?:<(\w+)\.(\w+))?(?:@([\d.]+))?$/;

const INITIAL: Readonly<Record<FieldType, Value>> = {
  string: "",
  int: 0,
  float: new Double(0),
  bool: false,
  date: EPOCH,
  ref: NULL_REF,
  set: [],
  refs: [],
  map: {},
  refmap: {},
};

/**
 * Reads the fields of a class, one word each: `name/label*:string=x@8.2`. A slash ends a name space, `*` makes the field
 * settable, `=` gives its first value, `<CLASS.FIELD` makes it the list of objects that point here, `@` names the first
 * release that has it.
 */
export function parseFields(text: string): readonly Field[] {
  return text
    .trim()
    .split(/\s+/)
    .map((word) => {
      const match = FIELD.exec(word);
      const [, path = "", star, given, initial, from, field, since] = match ?? [];
      if (match === null) throw new RangeError(`The lab's schema has a field that cannot be read: ${word}`);
      const type = (from !== undefined ? "refs" : (given ?? "string")) as FieldType;
      return {
        name: path.replaceAll("/", "_"),
        databaseName: path.replaceAll("/", "__"),
        type,
        isSettable: star === "*",
        since: PROFILES.find((known) => known === since),
        initial: initial === undefined ? INITIAL[type] : initialValue(type, initial),
        derived: from === undefined || field === undefined ? undefined : { from, field },
      };
    });
}

function initialValue(type: FieldType, text: string): Value {
  if (type === "int") return Number(text);
  if (type === "float") return new Double(Number(text));
  if (type === "bool") return text === "true";
  return text;
}
