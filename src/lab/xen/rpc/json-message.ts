import { z } from "zod";
import type { XapiFault } from "../fault.js";
import { isSince, type ProfileName } from "../profile.js";
import { dateText, Double, isList, isMap, SmallInt, type Value } from "../value.js";
import { MalformedCall, type RpcMessage } from "./message.js";

const call = z.object({
  jsonrpc: z.literal("2.0").optional(),
  method: z.string(),
  params: z.array(z.unknown()).default([]),
  id: z.union([z.string(), z.number().int()]),
});

/** @throws MalformedCall */
export function parseJsonCall(text: string, profile: ProfileName): RpcMessage {
  const parsed = call.safeParse(json(text));
  if (!parsed.success) throw new MalformedCall(z.prettifyError(parsed.error));
  const { method, params, id, jsonrpc } = parsed.data;
  // Before 7.3 every answer had the form of version 1.
  const isV2 = jsonrpc === "2.0" && isSince(profile, "8.2");
  return {
    method,
    params: params.map(readValue),
    contentType: "application/json",
    success: (value) => {
      const result = jsonValue(value);
      return JSON.stringify(isV2 ? { jsonrpc: "2.0", result, id } : { result, error: null, id });
    },
    failure: (fault) => JSON.stringify(isV2 ? { jsonrpc: "2.0", error: errorObject(fault), id } : v1Failure(fault, id)),
  };
}

function errorObject({ code, parameters }: XapiFault): object {
  return { code: 1, message: code, data: parameters };
}

function v1Failure({ description }: XapiFault, id: string | number): object {
  return { result: null, error: description, id };
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new MalformedCall(String(error), { cause: error });
  }
}

function readValue(value: unknown): Value {
  if (typeof value === "string" || typeof value === "boolean") return value;
  if (typeof value === "number") return Number.isInteger(value) ? value : new Double(value);
  if (Array.isArray(value)) return value.map(readValue);
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, readValue(one)]));
  }
  throw new MalformedCall("null is no value of the Xen API");
}

function jsonValue(value: Value): unknown {
  if (value instanceof Double || value instanceof SmallInt) return value.value;
  if (value instanceof Date) return dateText(value);
  if (isList(value)) return value.map(jsonValue);
  if (isMap(value)) return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, jsonValue(one)]));
  return value;
}
