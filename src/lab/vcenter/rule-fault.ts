import type { RuleAction } from "../rules.js";
import type { Fault } from "./faults.js";
import { fault, localized } from "./faults.js";
import type { Field } from "./schema/grammar.js";
import { dataShape, PRIMITIVES } from "./schema/lookup.js";
import type { Moref, Value } from "./values.js";

/** The fault that a rule wants, with what the rule leaves out of its required fields filled in. */
export function ruleFault(action: Extract<RuleAction, { kind: "fault" }>, target: Moref): Fault {
  const shape = dataShape(action.name);
  if (shape?.lineage.includes("MethodFault") !== true) {
    return fault("SystemError", { reason: `A rule wants the fault ${action.name}, which the lab does not know` });
  }
  const fields: Record<string, Value> = {};
  for (const field of shape.fields) {
    const given = action.fields[field.name];
    if (given !== undefined) fields[field.name] = given;
    else if (!field.optional && !field.array) fields[field.name] = filler(field, target);
  }
  return fault(action.name, fields, action.message);
}

function filler(field: Field, target: Moref): Value {
  if (field.type === "ref") return target;
  if (field.type === "LocalizedMethodFault") return localized(fault("NotSupported"));
  if (field.type === "VirtualMachinePowerState") return "poweredOn";
  if (field.type === "boolean") return false;
  return PRIMITIVES.has(field.type) && field.type !== "string" ? 0 : field.name;
}
