import { during } from "../operations.js";
import { powerOff, powerOn, resume, suspend } from "../power.js";
import { method, type Method, type MethodCall } from "../rpc/method.js";
import { copySuspendImage, snapshotMachine } from "../snapshots.js";
import { assertPower, assertVmAllows } from "../vm-rules.js";

const OPERATOR = { role: "vm-operator" } as const;

export const POWER_CALLS: readonly Method[] = [
  method("VM.start", { ...OPERATOR, takes: "vm:VM start_paused:bool force:bool" }, (call) =>
    work(call, "start", ["Halted"], (vm) => {
      powerOn(call.pool, vm);
      return Promise.resolve("");
    }),
  ),
  method("VM.clean_shutdown", { ...OPERATOR, takes: "vm:VM" }, (call) =>
    work(call, "clean_shutdown", ["Running"], async (vm) => {
      await powerOff(call.pool, vm);
      return "";
    }),
  ),
  method("VM.hard_shutdown", { ...OPERATOR, takes: "vm:VM" }, (call) =>
    work(call, "hard_shutdown", ["Paused", "Suspended", "Running"], async (vm) => {
      await powerOff(call.pool, vm);
      return "";
    }),
  ),
  method("VM.shutdown", { ...OPERATOR, takes: "vm:VM" }, (call) =>
    work(call, "shutdown", ["Running", "Suspended", "Paused"], async (vm) => {
      await powerOff(call.pool, vm);
      return "";
    }),
  ),
  method("VM.suspend", { ...OPERATOR, takes: "vm:VM" }, (call) =>
    work(call, "suspend", ["Running"], async (vm) => {
      await suspend(call.pool, vm);
      return "";
    }),
  ),
  method("VM.resume", { ...OPERATOR, takes: "vm:VM start_paused:bool force:bool" }, (call) =>
    work(call, "resume", ["Suspended"], async (vm) => {
      await resume(call.pool, vm);
      return "";
    }),
  ),
  method("VM.checkpoint", { role: "vm-power-admin", takes: "vm:VM new_name" }, (call) =>
    work(call, "checkpoint", ["Suspended", "Running"], (vm) => checkpoint(call, vm)),
  ),
];

function work(
  { pool, args, task }: MethodCall,
  operation: string,
  states: readonly string[],
  run: (vm: string) => Promise<string>,
): Promise<string> {
  const vm = args.text("vm");
  assertVmAllows(pool, vm, operation);
  return during(pool.database, { className: "VM", ref: vm, operation, task: task.ref }, () => {
    assertPower(pool, vm, states);
    return run(vm);
  });
}

/** The guest stands still while its memory and every disk are copied; it runs on afterwards, whatever happened. */
async function checkpoint({ pool, args, task }: MethodCall, vm: string): Promise<string> {
  const wasRunning = pool.database.text("VM", vm, "power_state") === "Running";
  if (wasRunning) await suspend(pool, vm);
  try {
    const wish = { vm, name: args.text("new_name"), ignored: new Set<string>(), isQuiesced: false, task };
    const snapshot = await snapshotMachine(pool, { ...wish, powerState: wasRunning ? "Running" : "Suspended" });
    await copySuspendImage(pool, vm, snapshot);
    return snapshot;
  } finally {
    if (wasRunning) await resume(pool, vm);
  }
}
