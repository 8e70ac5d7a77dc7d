import { closeNames } from "./close-names.js";

/** How disk bytes come from a server; `nbd` is VMware's own there, and the real one on Xen. */
export const TRANSPORTS = ["san", "hotadd", "nbdssl", "nbd", "https", "http"] as const;
export type Transport = (typeof TRANSPORTS)[number];

/** Of each kind of server, in the order of preference. VMware's library has all of vSphere's but the last. */
export const TRANSPORTS_OF = {
  vsphere: ["san", "hotadd", "nbdssl", "nbd", "https"],
  xen: ["nbd", "http"],
} as const satisfies Record<string, readonly Transport[]>;

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
