import { createServer, type AddressInfo, type Socket } from "node:net";
import { FileDisk } from "../archive/disk-bytes.js";
import type { PoolHost } from "../pool-host.js";
import { isSince } from "../profile.js";
import { isList, textOf } from "../value.js";
import type { XenPool } from "../xen-pool.js";
import { ExactSocket } from "./exact-socket.js";
import { negotiate, type TlsMode } from "./negotiation.js";
import { closed, leaving, transmit } from "./transmission.js";

/** Of one host; the next client is dropped. */
const CONNECTIONS_MAX = 16;

/** A running NBD server of one host. */
export interface NbdServer {
  readonly port: number;
  /** Ends the server and its connections. */
  close(): Promise<void>;
}

/** Starts the NBD server of a host on a free port of its address; undefined for releases that have none. */
export async function serveNbd(pool: XenPool, host: PoolHost): Promise<NbdServer | undefined> {
  if (!isSince(pool.profile.name, "8.2")) return undefined;
  const clients = new Map<Socket, Promise<void>>();
  const server = createServer((socket) => {
    socket.on("error", (error) => {
      pool.logger.debug("The connection of an NBD client failed", { reason: error.message });
    });
    const mode = tlsMode(pool, host);
    // Without a purpose the firewall of a real host lets nobody through.
    if (mode === undefined || clients.size >= CONNECTIONS_MAX) {
      socket.destroy();
      return;
    }
    const serving = serveClient(pool, host, socket, mode)
      .catch((error: unknown) => {
        pool.logger.warn(`The lab dropped an NBD client: ${String(error)}`);
      })
      .finally(() => {
        socket.destroySoon();
        clients.delete(socket);
      });
    clients.set(socket, serving);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, host.address, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: async () => {
      server.close();
      for (const socket of clients.keys()) socket.destroy();
      await Promise.all(clients.values());
    },
  };
}

/** By the purposes of the networks that the host is on; undefined when NBD is allowed on none. */
function tlsMode({ database }: XenPool, host: PoolHost): TlsMode | undefined {
  const purposes = new Set(
    database.where("PIF", "host", host.ref).flatMap((pif) => {
      const network = textOf(database.row("PIF", pif)["network"]);
      const purpose = database.row("network", network)["purpose"];
      return purpose !== undefined && isList(purpose) ? purpose : [];
    }),
  );
  if (purposes.has("nbd")) return "forced";
  return purposes.has("insecure_nbd") ? "none" : undefined;
}

async function serveClient(pool: XenPool, host: PoolHost, plain: Socket, mode: TlsMode): Promise<void> {
  const wish = await negotiate(new ExactSocket(plain), mode, host.tls);
  if (wish === undefined) return;
  const { socket, exportName } = wish;
  try {
    await serveExport(pool, host, socket, exportName);
  } finally {
    socket.socket.destroySoon();
  }
}

/** @throws XapiFault when there is no such session or disk, or this host does not see it */
async function serveExport(pool: XenPool, host: PoolHost, socket: ExactSocket, exportName: string): Promise<void> {
  const [path = "", query] = exportName.split("?", 2);
  const uuid = path.replace(/^\//, "");
  const vdi = pool.database.byUuid("VDI", uuid);
  const refs = [vdi, ...pool.database.where("VBD", "VDI", vdi)];
  const label = `nbd ${uuid}`;
  pool.traffic.fileRequest(label);
  const actions = pool.actions("NBD.connect", path, refs);
  const isDropped = (when: "before" | "after"): boolean =>
    actions.some((action) => action.kind === "drop" && action.when === when);
  if (isDropped("before")) return;
  if (actions.some(({ kind }) => kind === "expireSessions")) pool.sessions.endAll();
  if (actions.some(({ kind }) => kind === "hang")) await closed(socket);
  const { holds } = pool.rules;
  const hold = async (when: "before" | "after"): Promise<void> => {
    const isHeld = actions.some((action) => action.kind === "hold" && action.when === when);
    if (isHeld) await holds.hold(leaving(socket));
  };
  await hold("before");
  pool.sessions.use(new URLSearchParams(query).get("session_id") ?? "");
  const attachment = pool.attachments.plug(vdi, host, "RO");
  try {
    await hold("after");
    if (isDropped("after")) return;
    await using file = await pool.store.open(vdi);
    await transmit(socket, {
      disk: new FileDisk(file, pool.store.size(vdi)),
      actions: () => pool.actions("NBD.read", path, refs),
      holds,
      sent: (bytes) => {
        pool.traffic.fileBytes(label, bytes);
      },
    });
  } finally {
    attachment.release();
  }
}
