import type { LabConfig } from "../lab-config.js";

/** What a method needs on its object (vSphere Web Services API reference, "Required Privileges"). */
const OF_METHODS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  VirtualMachine: {
    CreateSnapshot_Task: "VirtualMachine.State.CreateSnapshot",
    CreateSnapshotEx_Task: "VirtualMachine.State.CreateSnapshot",
    RemoveAllSnapshots_Task: "VirtualMachine.State.RemoveSnapshot",
    ConsolidateVMDisks_Task: "VirtualMachine.State.RemoveSnapshot",
    QueryChangedDiskAreas: "VirtualMachine.Provisioning.DiskRandomRead",
    ReconfigVM_Task: "VirtualMachine.Config.ChangeTracking",
    PowerOnVM_Task: "VirtualMachine.Interact.PowerOn",
    PowerOffVM_Task: "VirtualMachine.Interact.PowerOff",
  },
  VirtualMachineSnapshot: {
    RemoveSnapshot_Task: "VirtualMachine.State.RemoveSnapshot",
    RenameSnapshot: "VirtualMachine.State.RenameSnapshot",
  },
};

/** Every role has these. */
const EVERYBODY = ["System.Anonymous", "System.View", "System.Read"];

/** What accounts may do, on every object alike; who has no role may do everything. */
export class Privileges {
  readonly #granted: ReadonlyMap<string, ReadonlySet<string>>;

  /** @throws RangeError for a role that is not there */
  constructor({ roles, users }: Pick<LabConfig, "roles" | "users">) {
    this.#granted = new Map(
      Object.entries(users).map(([name, { role }]) => {
        const privileges = roles[role];
        if (privileges === undefined) throw new RangeError(`The lab has no role "${role}" for user "${name}"`);
        return [name.toLowerCase(), new Set([...EVERYBODY, ...privileges])];
      }),
    );
  }

  has(user: string, privilege: string): boolean {
    return this.#granted.get(user.toLowerCase())?.has(privilege) ?? true;
  }

  /** The privilege that a call needs and the user lacks. */
  missingFor(user: string, type: string, method: string): string | undefined {
    const needed = OF_METHODS[type]?.[method];
    return needed === undefined || this.has(user, needed) ? undefined : needed;
  }
}
