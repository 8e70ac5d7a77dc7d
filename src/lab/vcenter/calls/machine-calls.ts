import type { Machine } from "../../machine.js";
import { createSnapshot, forgetSnapshots, mergeUnneededLinks } from "../../snapshots.js";
import type { Call, Handler, Handlers } from "../call.js";
import { fault, Fault, notFound } from "../faults.js";
import { powerWord } from "../inventory/machine-summary.js";
import { ruleFault } from "../rule-fault.js";
import { data, moref, type Moref, type Value } from "../values.js";

/** Longest name of a snapshot. */
const NAME_CHARS_MAX = 80;

function machineOf({ server, target }: Call): Machine {
  const machine = server.machineOf(target.ref);
  if (machine === undefined) throw notFound(target.ref);
  return machine;
}

/** Starts a task on a machine; rules may make it slow or make it fail. */
function startTask(call: Call, descriptionId: string, effect: (machine: Machine) => Promise<Value | undefined>): Moref {
  const { server, method, session, actions } = call;
  const machine = machineOf(call);
  const failure = actions.find((action) => action.kind === "fault" && action.where === "task");
  return server.tasks.start({
    method,
    descriptionId,
    entity: moref("VirtualMachine", machine.ref),
    entityName: machine.name,
    user: session.user,
    cancelable: method !== "RemoveSnapshot_Task" && method !== "ConsolidateVMDisks_Task",
    durationMs: actions.reduce((sum, action) => sum + (action.kind === "taskDuration" ? action.ms : 0), 0),
    effect: async () => {
      if (failure?.kind === "fault") throw ruleFault(failure, call.target.ref);
      const result = await effect(machine);
      await server.world.save(false);
      return result;
    },
  });
}

/** Why a snapshot of this machine is refused; the quiescing itself is the guest's part. */
function refuseSnapshot(call: Call, machine: Machine, quiesce: boolean): void {
  const { args, server } = call;
  const name = args.text("name") ?? "";
  if (name === "" || name.length > NAME_CHARS_MAX) throw fault("InvalidName", { name });
  if (machine.settings.template) throw fault("NotSupported");
  if (machine.snapshots.length >= server.rules.settings.snapshotDepthMax) throw fault("TooManySnapshotLevels");
  if (machine.disks.some((disk) => disk.slot.sharing === "sharingMultiWriter")) {
    throw fault("GenericVmConfigFault", { reason: "Cannot snapshot shared disk." });
  }
  if (args.flag("memory") === true && machine.disks.some((disk) => disk.slot.mode.startsWith("independent"))) {
    throw fault("MemorySnapshotOnIndependentDisk");
  }
  if (quiesce && machine.power === "on" && !machine.settings.toolsRunning) {
    throw fault(
      "ApplicationQuiesceFault",
      {},
      "Cannot quiesce virtual machine because VMware Tools is not currently available.",
    );
  }
}

function startSnapshot(call: Call, quiesce: boolean): Moref {
  const { server, args } = call;
  return startTask(call, "VirtualMachine.createSnapshot", async (machine) => {
    refuseSnapshot(call, machine, quiesce);
    const number = server.world.nextNumber();
    const snapshot = await createSnapshot(machine, {
      ref: `snapshot-${number}`,
      id: number,
      name: args.text("name") ?? "",
      description: args.text("description") ?? "",
      quiesced: quiesce && machine.power === "on",
    });
    return moref("VirtualMachineSnapshot", snapshot.ref);
  });
}

function startRemoval(call: Call, descriptionId: string, refs: (machine: Machine) => ReadonlySet<string>): Moref {
  return startTask(call, descriptionId, async (machine) => {
    const chosen = refs(machine);
    if (chosen.size === 0) return undefined;
    if (![...chosen].every((ref) => machine.snapshot(ref) !== undefined)) throw notFound(call.target.ref);
    const keepsLinks = call.actions.some((action) => action.kind === "skipConsolidation");
    forgetSnapshots(machine, chosen);
    // On disk before the bytes move: a lab that is killed meanwhile must not show a snapshot whose links have changed.
    await call.server.world.save(false);
    if (!keepsLinks && (call.args.flag("consolidate") ?? true)) await mergeUnneededLinks(machine);
    return undefined;
  });
}

function withDescendants(machine: Machine, ref: string): Set<string> {
  const at = machine.snapshots.findIndex((snapshot) => snapshot.ref === ref);
  return new Set(machine.snapshots.slice(at).map((snapshot) => snapshot.ref));
}

function startPower(call: Call, to: "on" | "off"): Moref {
  return startTask(call, `VirtualMachine.power${to === "on" ? "On" : "Off"}`, (machine) => {
    if (machine.power === to) {
      const state = powerWord(to);
      return Promise.reject(fault("InvalidPowerState", { requestedState: state, existingState: state }));
    }
    machine.power = to;
    machine.touch();
    return Promise.resolve(undefined);
  });
}

/** The parts of a machine that the lab can change; anything else is refused, so that no test believes it happened. */
const RECONFIGURABLE = new Set(["changeTrackingEnabled", "annotation", "changeVersion"]);

function startReconfigure(call: Call): Moref {
  const spec = call.args.data("spec") ?? data("VirtualMachineConfigSpec");
  const { changeTrackingEnabled: tracking, annotation, changeVersion } = spec.fields;
  return startTask(call, "VirtualMachine.reconfigure", async (machine) => {
    const other = Object.entries(spec.fields).find(
      ([name, value]) =>
        value !== undefined && !RECONFIGURABLE.has(name) && !(Array.isArray(value) && value.length === 0),
    );
    if (other !== undefined) throw new Fault(data("NotSupported"), `The lab does not change ${other[0]} of a machine`);
    const current = `${machine.modifiedAt.toISOString()}-${machine.changeVersion}`;
    if (changeVersion !== undefined && changeVersion !== current) throw fault("ConcurrentAccess");
    if (typeof tracking === "boolean" && tracking !== machine.changeTracking) {
      machine.changeTracking = tracking;
      for (const disk of machine.disks) disk.changes.reset();
    }
    if (typeof annotation === "string") machine.files.vmx.set("annotation", annotation);
    machine.touch();
    await machine.saveVmx();
    return undefined;
  });
}

export const MACHINE_CALLS: Handlers<Handler> = {
  VirtualMachine: {
    CreateSnapshot_Task: (call) => startSnapshot(call, call.args.flag("quiesce") ?? false),
    CreateSnapshotEx_Task: (call) => startSnapshot(call, call.args.data("quiesceSpec") !== undefined),
    RemoveAllSnapshots_Task: (call) =>
      startRemoval(
        call,
        "VirtualMachine.removeAllSnapshots",
        (machine) => new Set(machine.snapshots.map((snapshot) => snapshot.ref)),
      ),
    ConsolidateVMDisks_Task: (call) =>
      startTask(call, "VirtualMachine.consolidateDisks", async (machine) => {
        if (!call.actions.some((action) => action.kind === "skipConsolidation")) await mergeUnneededLinks(machine);
        return undefined;
      }),
    ReconfigVM_Task: startReconfigure,
    PowerOnVM_Task: (call) => startPower(call, "on"),
    PowerOffVM_Task: (call) => startPower(call, "off"),
  },
  VirtualMachineSnapshot: {
    RemoveSnapshot_Task: (call) => {
      const { ref } = call.target.ref;
      const children = call.args.flag("removeChildren") ?? false;
      return startRemoval(call, "vm.Snapshot.remove", (machine) =>
        children ? withDescendants(machine, ref) : new Set([ref]),
      );
    },
    RenameSnapshot: async ({ server, target, args }) => {
      const snapshot = server.machineOf(target.ref)?.snapshot(target.ref.ref);
      if (snapshot === undefined) throw notFound(target.ref);
      snapshot.name = args.text("name") ?? snapshot.name;
      snapshot.description = args.text("description") ?? snapshot.description;
      await server.world.save(false);
      server.world.changed();
      return undefined;
    },
  },
  Task: {
    CancelTask: ({ server, target }) => {
      server.tasks.cancel(target.ref.ref);
      return undefined;
    },
  },
};
