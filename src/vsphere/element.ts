import { IntegrityError } from "../errors.js";
import { bytes, type Bytes } from "../units.js";
import type { MoRef } from "./soap-message.js";
import type { XmlElement } from "./xml.js";

/** The first child of that name. */
export function child(of: XmlElement | undefined, name: string): XmlElement | undefined {
  return of?.children.find((element) => element.name === name);
}

export function childrenNamed(of: XmlElement | undefined, name: string): XmlElement[] {
  return of?.children.filter((element) => element.name === name) ?? [];
}

/** Follows names downward: `descend(info, "error", "fault")`. */
export function descend(of: XmlElement | undefined, ...path: readonly string[]): XmlElement | undefined {
  return path.reduce((element, name) => child(element, name), of);
}

/** Text at the end of a path; undefined when the element is absent. */
export function textAt(of: XmlElement | undefined, ...path: readonly string[]): string | undefined {
  return descend(of, ...path)?.text;
}

/** XML Schema booleans: `true` and `1`; absent counts as false. */
export function isTrue(element: XmlElement | undefined): boolean {
  return element?.text === "true" || element?.text === "1";
}

/** @throws IntegrityError when the text is not a whole number that a JavaScript number holds exactly */
export function toInteger(element: XmlElement): number {
  const value = Number(element.text);
  if (!/^[+-]?\d{1,16}$/.test(element.text.trim()) || !Number.isSafeInteger(value)) {
    throw new IntegrityError(
      `Cannot read the server's answer: "${element.text.slice(0, 40)}" in <${element.name}> is not a number in range`,
    );
  }
  return value;
}

export function integerAt(of: XmlElement | undefined, ...path: readonly string[]): number | undefined {
  const element = descend(of, ...path);
  return element === undefined ? undefined : toInteger(element);
}

/** @throws IntegrityError for a negative or oversized count */
export function toBytes(element: XmlElement, factor = 1): Bytes {
  try {
    return bytes(toInteger(element) * factor);
  } catch (error) {
    if (error instanceof IntegrityError) throw error;
    throw new IntegrityError(`Cannot read the server's answer: <${element.name}> is no size`, { cause: error });
  }
}

/** @throws IntegrityError when the element is no managed object reference */
export function toMoRef(element: XmlElement | undefined): MoRef {
  if (element?.type === undefined || element.text === "") {
    throw new IntegrityError(
      `Cannot read the server's answer: <${element?.name ?? "returnval"}> is no object reference`,
    );
  }
  return { type: element.type, id: element.text };
}

export function moRefAt(of: XmlElement | undefined, ...path: readonly string[]): MoRef | undefined {
  const element = descend(of, ...path);
  return element === undefined || element.text === "" ? undefined : toMoRef(element);
}
