import { parseXml, type Element } from "../../vcenter/xml.js";
import { Double, parseDate, type Value } from "../value.js";
import { MalformedCall, type RpcMessage } from "./message.js";
import { xmlValue } from "./xml-values.js";

/** @throws MalformedCall */
export function parseXmlCall(text: string): RpcMessage {
  const root = element(text);
  const method = child(root, "methodName")?.text.trim();
  if (root.name !== "methodCall" || method === undefined) throw new MalformedCall("No methodCall");
  const params = (child(root, "params")?.children ?? []).map((param) => {
    const value = child(param, "value");
    if (value === undefined) throw new MalformedCall("A param without a value");
    return readValue(value);
  });
  return {
    method,
    params,
    contentType: "text/xml",
    success: (value, isBare) => response(isBare ? value : { Status: "Success", Value: value }),
    failure: ({ description }) => response({ Status: "Failure", ErrorDescription: description }),
  };
}

function element(text: string): Element {
  try {
    return parseXml(text);
  } catch (error) {
    throw new MalformedCall(String(error), { cause: error });
  }
}

function response(value: Value): string {
  return `<?xml version="1.0"?><methodResponse><params><param>${xmlValue(value)}</param></params></methodResponse>`;
}

/** A `<value>` element. Untyped text is a string, however it looks. @throws MalformedCall */
export function readValue(value: Element): Value {
  const [typed, ...others] = value.children;
  if (typed === undefined) return value.text;
  if (others.length > 0) throw new MalformedCall("A value with two types");
  switch (typed.name) {
    case "string":
      return typed.text;
    case "int":
    case "i4":
    case "i8":
      return integer(typed.text);
    case "boolean":
      return typed.text.trim() === "1";
    case "double":
      return double(typed.text);
    case "dateTime.iso8601":
      return date(typed.text);
    case "array":
      return (child(typed, "data")?.children ?? []).map(readValue);
    case "struct":
      return Object.fromEntries(typed.children.map(member));
    case "nil":
      return "";
    default:
      throw new MalformedCall(`No type ${typed.name}`);
  }
}

function member(element: Element): [string, Value] {
  const [name, value] = [child(element, "name"), child(element, "value")];
  if (name === undefined || value === undefined) throw new MalformedCall("A member without name or value");
  return [name.text, readValue(value)];
}

function integer(text: string): number {
  if (!/^\s*[+-]?\d+\s*$/.test(text)) throw new MalformedCall(`"${text}" is no integer`);
  return Number(text);
}

function double(text: string): Double {
  const value = Number(text);
  if (text.trim() === "" || Number.isNaN(value)) throw new MalformedCall(`"${text}" is no double`);
  return new Double(value);
}

function date(text: string): Date {
  try {
    return parseDate(text.trim());
  } catch (error) {
    throw new MalformedCall(String(error), { cause: error });
  }
}

function child(parent: Element, name: string): Element | undefined {
  return parent.children.find((one) => one.name === name);
}
