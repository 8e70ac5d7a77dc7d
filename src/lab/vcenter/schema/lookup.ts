import { DEVICE_TYPES } from "./device-types.js";
import { FAULT_TYPES } from "./fault-types.js";
import { parseFields, ShapeTable, type Field, type Shape } from "./grammar.js";
import { MACHINE_TYPES } from "./machine-types.js";
import { MANAGED_TYPES } from "./managed-types.js";
import { METHODS } from "./methods.js";
import { SERVICE_TYPES } from "./service-types.js";
import { SITE_TYPES } from "./site-types.js";

const dataShapes = new ShapeTable({
  ...SERVICE_TYPES,
  ...MACHINE_TYPES,
  ...DEVICE_TYPES,
  ...SITE_TYPES,
  ...FAULT_TYPES,
});
const managedShapes = new ShapeTable(MANAGED_TYPES);

export function dataShape(name: string): Shape | undefined {
  return dataShapes.find(name);
}

export function managedShape(name: string): Shape | undefined {
  return managedShapes.find(name);
}

/** Whether a managed object of type `name` is a `base`; every one is a ManagedObject. */
export function isManaged(name: string, base: string): boolean {
  return base === "ManagedObject" || name === base || (managedShape(name)?.lineage.includes(base) ?? false);
}

/** XML Schema types that vSphere uses. */
export const PRIMITIVES: ReadonlySet<string> = new Set([
  "string",
  "boolean",
  "byte",
  "short",
  "int",
  "long",
  "float",
  "double",
  "dateTime",
  "base64Binary",
  "anyURI",
]);

const methodFields = new Map<string, readonly Field[]>();

/** Parameters of a method in wire order, or undefined when objects of this type do not have it. */
export function methodShape(objectType: string, method: string): readonly Field[] | undefined {
  for (const type of managedShape(objectType)?.lineage ?? []) {
    const texts = METHODS[type];
    const text = texts !== undefined && Object.hasOwn(texts, method) ? texts[method] : undefined;
    if (text === undefined) continue;
    const key = `${type}.${method}`;
    const fields = methodFields.get(key) ?? parseFields(text);
    methodFields.set(key, fields);
    return fields;
  }
  return undefined;
}
