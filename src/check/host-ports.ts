import { connect } from "node:net";
import pLimit from "p-limit";
import type { HostPort } from "../health.js";
import type { Transport } from "../transports.js";
import { fail, type Finding, ok, skip, warn } from "./finding.js";

/** A live host answers within milliseconds, also across a continent. */
const CONNECT_MS = 3_000;
/** All of them, dead, must have been tried before the question's time is over; and it must not look like a scan to a firewall. */
const AT_ONCE_MAX = 16;
/** More come from no honest server: 64 hosts of a pool with two ports each. */
const PORTS_MAX = 128;

/**
 * Whether each port of the hosts answers. A closed one is a failure only when no other transport is left.
 * @param usable the transports that a mount would try from here
 */
export async function checkPorts(
  ports: readonly HostPort[],
  usable: readonly Transport[],
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const limit = pLimit(AT_ONCE_MAX);
  const knocked = ports.slice(0, PORTS_MAX);
  const found = await Promise.all(
    knocked.map((port) => limit(async () => judgePort(port, usable, await knock(port, signal)))),
  );
  if (knocked.length === ports.length) return found;
  return [...found, warn("ports", `Only ${PORTS_MAX} of ${ports.length} ports were tried`)];
}

/** Xen hosts serve NBD only on networks that are meant for it. */
export function judgeNbdService(ports: readonly HostPort[], usable: readonly Transport[]): Finding {
  const id = "transport.nbd";
  if (!usable.includes("nbd")) return skip(id, "NBD is not among the transports of mount.transport");
  if (ports.some(({ transports }) => transports.includes("nbd"))) return ok(id, "The VM's disks are served over NBD");
  const text = "The pool serves no disk of the VM over NBD";
  const hint = "Give a network the purpose with: xe network-param-add param-name=purpose param-key=nbd uuid=…";
  if (usable.length === 1) return fail(id, "unavailable", text, hint);
  return warn(id, `${text}: each is fetched into cache.dir first`, hint);
}

/** @param problem why nobody answers; undefined = somebody does */
export function judgePort(
  { host, address, port, transports }: HostPort,
  usable: readonly Transport[],
  problem: string | undefined,
): Finding {
  const id = `port.${port}`;
  const shown = `${address.includes(":") ? `[${address}]` : address}:${port} of host "${host}"`;
  if (problem === undefined) return ok(id, `${shown} answers`);
  const text = `${shown} does not answer (${problem}), which ${transports.join(", ")} would need`;
  const others = usable.filter((one) => !transports.includes(one));
  const hint = "Open it in the firewalls between this machine and that host";
  if (others.length === 0) return fail(id, "connect", text, hint);
  // Without VMware's library nobody will ever knock there.
  if (others.length === usable.length) return skip(id, `${text}; ${others.join(", ")} is what is used from here`);
  return warn(id, `${text}; ${others.join(", ")} is left`, hint);
}

/** @returns why nobody answers */
function knock({ address, port }: HostPort, signal: AbortSignal): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port });
    const end = (problem: string | undefined): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
      socket.destroy();
      resolve(problem);
    };
    const onAbort = (): void => {
      end("given up");
    };
    const timer = setTimeout(() => {
      end(`nothing within ${CONNECT_MS / 1000} s`);
    }, CONNECT_MS);
    socket.once("connect", () => {
      end(undefined);
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      end(error.code ?? error.message);
    });
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
  });
}
