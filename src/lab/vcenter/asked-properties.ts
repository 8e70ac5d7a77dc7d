import type { SoapCall } from "./soap-endpoint.js";
import type { Element } from "./xml.js";

/** Spellings of one: the property collector is asked for everything by the same few methods. */
const SPECS = new Set(["specSet", "spec"]);

/**
 * What a retrieval or a filter is about, for rules: `VirtualMachine.snapshot`, several in the order of the request with
 * spaces between; "" for calls that name no properties.
 */
export function askedProperties({ element }: Pick<SoapCall, "element">): string {
  return element.children
    .filter(({ name }) => SPECS.has(name))
    .flatMap((spec) => named(spec, "propSet"))
    .flatMap((set) => {
      const type = named(set, "type")[0]?.text.trim() ?? "";
      const paths = named(set, "pathSet").map(({ text }) => `${type}.${text.trim()}`);
      return paths.length > 0 ? paths : [type];
    })
    .join(" ");
}

function named(element: Element, name: string): readonly Element[] {
  return element.children.filter((child) => child.name === name);
}
