import { randomUUID } from "node:crypto";
import { readdir, realpath } from "node:fs/promises";
import { join } from "node:path";
import pLimit from "p-limit";
import type { Logger } from "../log.js";
import { defaultMachineSettings, readLabConfig } from "./lab-config.js";
import { readLabState, writeLabState, type LabState, type MachineState } from "./lab-state.js";
import { Machine } from "./machine.js";
import { needsConsolidation } from "./snapshots.js";

/** Everything behind the servers: the machines with their disks, and who is told when they change. */
export class World {
  /** Absolute and without links, as is every path made from it: datastore requests are compared with real paths. */
  readonly directory: string;
  readonly datacenter: string;
  readonly datastores: readonly string[];
  readonly machines: readonly Machine[];
  readonly #state: LabState;
  readonly #listeners = new Set<() => void>();
  readonly #saving = pLimit(1);

  private constructor(
    directory: string,
    datacenter: string,
    datastores: readonly string[],
    machines: readonly Machine[],
    state: LabState,
  ) {
    this.directory = directory;
    this.datacenter = datacenter;
    this.datastores = datastores;
    this.machines = machines;
    this.#state = state;
  }

  static async open(given: string, logger: Logger): Promise<World> {
    const directory = await realpath(given);
    const config = await readLabConfig(directory);
    const state = await readLabState(directory, randomUUID);
    const datastores = await folders(directory);
    const machines: Machine[] = [];
    for (const datastore of datastores) {
      for (const folder of await folders(join(directory, datastore))) {
        const path = join(directory, datastore, folder);
        if (!(await readdir(path)).some((name) => name.endsWith(".vmx"))) continue;
        const key = `${datastore}/${folder}`;
        const settings = config.machines[key] ?? defaultMachineSettings();
        const known = state.machines[key] ?? newMachineState(`vm-${state.nextNumber++}`, settings);
        machines.push(await Machine.open(datastore, path, settings, known));
      }
    }
    // A lab that was killed may have left links behind.
    for (const machine of machines) machine.consolidationNeeded ||= needsConsolidation(machine);
    if (!state.clean) {
      // As after a host's power loss: writes may be missing from the logs, so old change ids must not be answered.
      logger.warn("The lab was not closed in order: change tracking begins anew");
      for (const machine of machines) for (const disk of machine.disks) disk.changes.reset();
    }
    const world = new World(directory, config.datacenter, datastores, machines, state);
    await world.save(false);
    return world;
  }

  get instanceUuid(): string {
    return this.#state.instanceUuid;
  }

  machine(ref: string): Machine | undefined {
    return this.machines.find((candidate) => candidate.ref === ref);
  }

  nextNumber(): number {
    return this.#state.nextNumber++;
  }

  /** Something that a client can see has changed. */
  changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @param clean that nothing will be written after this */
  save(clean: boolean): Promise<void> {
    return this.#saving(() => {
      const machines = Object.fromEntries(
        this.machines.map((machine) => [`${machine.datastore}/${machine.folderName}`, machine.state()]),
      );
      return writeLabState(this.directory, { ...this.#state, clean, machines });
    });
  }

  async close(): Promise<void> {
    await this.save(true);
    for (const machine of this.machines) await machine.close();
  }
}

function newMachineState(
  ref: string,
  settings: { readonly power: MachineState["power"]; readonly changeTracking: boolean },
): MachineState {
  const { power, changeTracking } = settings;
  return { ref, power, changeTracking, consolidationNeeded: false, snapshots: [], changes: {} };
}

/** Sub-folders that are not hidden, in a stable order. */
async function folders(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith("."))
    .map((entry) => entry.name)
    .sort();
}
