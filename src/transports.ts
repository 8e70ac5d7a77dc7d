import { closeNames } from "./close-names.js";

/** How disk bytes come from vSphere: VMware's library has all but the last. */
export const TRANSPORTS = ["san", "hotadd", "nbdssl", "nbd", "https"] as const;
export type Transport = (typeof TRANSPORTS)[number];

/** As a setting or option has them: in the order in which they are tried; "auto" = what can be used here. */
export type TransportOrder = readonly Transport[] | "auto";

function isTransport(name: string): name is Transport {
  return (TRANSPORTS as readonly string[]).includes(name);
}

/**
 * Reads `san:hotadd:nbdssl`, also with commas.
 * @throws RangeError naming what is wrong
 */
export function parseTransports(text: string): TransportOrder {
  const names = text
    .split(/[:,]/)
    .map((name) => name.trim().toLowerCase())
    .filter((name) => name !== "");
  if (names.length === 1 && names[0] === "auto") return "auto";
  const order: Transport[] = [];
  for (const name of names) {
    if (!isTransport(name)) {
      const [close] = closeNames(name, TRANSPORTS, 1);
      const hint = close === undefined ? `write some of ${TRANSPORTS.join(":")}` : `did you mean "${close}"?`;
      throw new RangeError(`Cannot use transport "${name}": ${hint}`);
    }
    if (!order.includes(name)) order.push(name);
  }
  if (order.length === 0) throw new RangeError(`Cannot use no transport at all: write some of ${TRANSPORTS.join(":")}`);
  return order;
}
