import { CLASS_NAMES, classShape, fieldsOf, hasClass } from "../database/classes.js";
import { parseExpression } from "../database/expression.js";
import type { Field } from "../database/field.js";
import { XapiFault } from "../fault.js";
import type { ProfileName } from "../profile.js";
import type { Role } from "../roles.js";
import { isList, isMap, textOf, type Value } from "../value.js";
import { typed, type ArgumentType } from "./arguments.js";
import { method, type Method, type MethodCall } from "./method.js";

/** The calls that every class has: read objects and their fields, set fields, change maps and sets. */
export function genericMethods(profile: ProfileName): Method[] {
  return CLASS_NAMES.filter((name) => hasClass(name, profile)).flatMap((name) => [
    ...(name === "session" ? [] : listCalls(name)),
    ...objectCalls(name),
    ...fieldsOf(name, profile).flatMap((field) => fieldCalls(name, field)),
  ]);
}

const READ = { role: "read-only", isAsync: false } as const;

function listCalls(className: string): Method[] {
  return [
    method(`${className}.get_all`, READ, ({ pool }) => pool.database.refs(className)),
    method(`${className}.get_all_records`, READ, ({ pool }) => records(pool.database, pool.database.refs(className))),
    method(`${className}.get_all_records_where`, { ...READ, takes: "expr" }, ({ pool: { database }, args }) => {
      const isWanted = parseExpression(args.text("expr"), (name) => {
        return [...(classShape(className)?.fields.values() ?? [])].find((field) => field.databaseName === name)?.name;
      });
      const wanted = database.refs(className).filter((ref) => {
        const record = database.record(className, ref);
        return isWanted((name) => record[name]);
      });
      return records(database, wanted);
    }),
  ];

  function records(database: MethodCall["pool"]["database"], refs: readonly string[]): Value {
    return Object.fromEntries(refs.map((ref) => [ref, database.record(className, ref)]));
  }
}

function objectCalls(className: string): Method[] {
  const calls = [
    method(`${className}.get_record`, { ...READ, takes: `self:${className}` }, ({ pool, args }) =>
      pool.database.record(className, args.text("self")),
    ),
    method(`${className}.get_by_uuid`, { ...READ, takes: "uuid" }, ({ pool, args }) =>
      pool.database.byUuid(className, args.text("uuid")),
    ),
  ];
  if (classShape(className)?.fields.get("name_label") === undefined || className === "pool") return calls;
  const byName = method(`${className}.get_by_name_label`, { ...READ, takes: "label" }, ({ pool, args }) =>
    pool.database.where(className, "name_label", args.text("label")),
  );
  return [...calls, byName];
}

function fieldCalls(className: string, field: Field): Method[] {
  const takes = `self:${className}`;
  const get = method(`${className}.get_${field.name}`, { ...READ, takes }, ({ pool, args }) => {
    return pool.database.field(className, args.text("self"), field.name) ?? "";
  });
  if (!field.isSettable) return [get];
  const role = settingRole(className, field.name);
  const set = method(`${className}.set_${field.name}`, { role, isAsync: false, takes: `${takes} value:any` }, (call) =>
    change(call, () => typed(field.name, argumentType(field), call.args.value("value"))),
  );
  return [get, set, ...partCalls(className, field, role, change)];

  function change({ pool, args }: MethodCall, next: (now: Value) => Value): Value {
    const self = args.text("self");
    const now = pool.database.row(className, self)[field.name] ?? "";
    pool.database.update(className, self, { [field.name]: next(now) });
    return "";
  }
}

type Change = (call: MethodCall, next: (now: Value) => Value) => Value;

/** Calls that change one entry of a map or a set. */
function partCalls(className: string, { name, type }: Field, role: Role, change: Change): Method[] {
  const takes = `self:${className}`;
  if (type === "map") {
    const add = method(`${className}.add_to_${name}`, { role, isAsync: false, takes: `${takes} key value` }, (call) => {
      const { pool, args } = call;
      return change(call, (now) => {
        const key = args.text("key");
        if (isMap(now) && Object.hasOwn(now, key)) {
          const uuid = textOf(pool.database.row(className, args.text("self"))["uuid"]);
          throw new XapiFault("MAP_DUPLICATE_KEY", className, name, uuid, key);
        }
        return { ...(isMap(now) ? now : {}), [key]: args.text("value") };
      });
    });
    const remove = method(`${className}.remove_from_${name}`, { role, isAsync: false, takes: `${takes} key` }, (call) =>
      change(call, (now) => {
        return Object.fromEntries(
          Object.entries(isMap(now) ? now : {}).filter(([key]) => key !== call.args.text("key")),
        );
      }),
    );
    return [add, remove];
  }
  if (type !== "set") return [];
  const texts = (now: Value): readonly Value[] => (isList(now) ? now : []);
  const traits = { role, isAsync: false, takes: `${takes} value` };
  return [
    method(`${className}.add_${name}`, traits, (call) =>
      change(call, (now) => [...new Set([...texts(now), call.args.text("value")])]),
    ),
    method(`${className}.remove_${name}`, traits, (call) =>
      change(call, (now) => texts(now).filter((one) => one !== call.args.text("value"))),
    ),
  ];
}

function argumentType(field: Field): ArgumentType {
  return field.type === "refmap" ? "map" : field.type;
}

function settingRole(className: string, field: string): Role {
  if (["task", "session"].includes(className)) return "read-only";
  if (!["VM", "VDI", "VBD", "VIF", "VM_metrics", "VM_guest_metrics"].includes(className)) return "pool-operator";
  return field === "tags" ? "vm-operator" : "vm-admin";
}
