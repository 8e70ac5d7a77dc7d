import type { ConfiguredServer } from "../config.js";
import { errorFacts } from "../errors.js";
import type { Happening } from "../health.js";
import type { Hypervisor } from "../hypervisor.js";
import type { Logger } from "../log.js";
import { openHypervisor, prepareConnection, type ServerChoice } from "../mount/connection.js";
import type { SessionFacts } from "../snapshot/journal-record.js";
import { within } from "./bounded.js";

/** Login and all questions to one server. */
const SERVER_MS = 60_000;
/** VMs of our sessions that are asked about. */
const VMS_MAX = 20;
const HAPPENINGS_MAX = 200;
/** A message of a server is a sentence or two. */
const TEXT_CHARS_MAX = 2_000;

export interface ServerStory {
  readonly server: string;
  readonly product?: string | undefined;
  readonly version?: string | undefined;
  readonly vms: readonly { readonly vm: string; readonly happenings?: readonly Happening[]; readonly note?: string }[];
  /** Why there is no more. */
  readonly note?: string | undefined;
}

/** What a server says of itself and of the VMs of our sessions. Never throws but for the caller's signal. */
export async function serverStory(
  server: ConfiguredServer,
  vms: readonly SessionFacts["vm"][],
  { choice, logger }: { readonly choice: ServerChoice; readonly logger: Logger },
  signal: AbortSignal,
): Promise<ServerStory> {
  let told: ServerStory = { server: server.name, vms: [] };
  try {
    await within(SERVER_MS, signal, async (asked) => {
      const connection = await prepareConnection(server, choice);
      await using hypervisor = await openHypervisor(connection, logger, asked);
      const { product, version } = hypervisor.identity;
      told = { ...told, product, version };
      for (const vm of vms.slice(0, VMS_MAX)) {
        told = { ...told, vms: [...told.vms, { vm: vm.path, ...(await storyOf(hypervisor, vm.ref, asked)) }] };
      }
    });
  } catch (error) {
    signal.throwIfAborted();
    told = { ...told, note: errorFacts(error).message };
  }
  return told;
}

async function storyOf(
  { health }: Hypervisor,
  vm: string,
  signal: AbortSignal,
): Promise<{ readonly happenings?: readonly Happening[]; readonly note?: string }> {
  if (health === undefined) return { note: "a folder keeps no tasks and events" };
  try {
    const happenings = await health.happenings(vm, { signal, max: HAPPENINGS_MAX });
    return { happenings: happenings.map((one) => ({ ...one, text: one.text.slice(0, TEXT_CHARS_MAX) })) };
  } catch (error) {
    signal.throwIfAborted();
    return { note: errorFacts(error).message };
  }
}
