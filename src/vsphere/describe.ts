import type { VmDescription } from "../hypervisor.js";
import { bytes, MIB } from "../units.js";
import { childrenNamed, isTrue, textAt, toBytes, toInteger } from "./element.js";
import { type Lineage, lineagesOf } from "./inventory-tree.js";
import type { ObjectProperties, PropertyCollector } from "./property-collector.js";
import type { MoRef } from "./soap-message.js";
import { datastoresOf, storagesOf } from "./storages.js";
import { parseDisks, parseNetworkCards } from "./virtual-devices.js";
import { IDENTITY_PATHS, toIdentity } from "./vm-identity.js";

/** Held by the VM and, as it was, by each of its snapshots. */
const HARDWARE_PATHS = [
  "config.version",
  "config.guestId",
  "config.guestFullName",
  "config.firmware",
  "config.hardware.numCPU",
  "config.hardware.numCoresPerSocket",
  "config.hardware.memoryMB",
  "config.hardware.device",
  "config.changeTrackingEnabled",
] as const;

const STATE_PATHS = [
  "config.template",
  "config.files.vmPathName",
  "summary.config.vmPathName",
  "config.ftInfo",
  "runtime.connectionState",
  "runtime.consolidationNeeded",
  "runtime.question",
  "guest.toolsRunningStatus",
  "disabledMethod",
  "runtime.host",
  "datastore",
] as const;

export interface DescribedVm {
  readonly description: VmDescription;
  readonly lineage: Lineage;
}

/** The VM as it is now or, with its hardware, as it was at the snapshot. @throws SoapFault */
export async function describe(
  at: { readonly vm: MoRef; readonly snapshot: MoRef | undefined },
  properties: PropertyCollector,
  signal: AbortSignal,
): Promise<DescribedVm> {
  const now = await properties.ofObject(at.vm, [...IDENTITY_PATHS, ...STATE_PATHS, ...HARDWARE_PATHS], signal);
  const frozen = at.snapshot === undefined ? now : await properties.ofObject(at.snapshot, HARDWARE_PATHS, signal);
  const [lineages, datastores] = await Promise.all([
    lineagesOf([now], properties, signal),
    frozen === now ? datastoresOf(now, properties, signal) : undefined,
  ]);
  const lineage = lineages.get(now.obj.id) ?? { names: [now.obj.id], datacenterPath: undefined, datacenterDepth: 0 };
  const description = toDescription(now, frozen, lineage);
  const storages = datastores === undefined ? undefined : storagesOf(description, datastores);
  return { description: { ...description, ...(storages !== undefined && { storages }) }, lineage };
}

function toDescription(now: ObjectProperties, frozen: ObjectProperties, lineage: Lineage): VmDescription {
  const state = now.values;
  const hardware = frozen.values;
  const count = (path: string): number | undefined => {
    const value = hardware.get(path);
    return value === undefined ? undefined : toInteger(value);
  };
  const memory = hardware.get("config.hardware.memoryMB");
  const devices = hardware.get("config.hardware.device");
  return {
    identity: toIdentity(now, lineage),
    hardware: {
      version: hardware.get("config.version")?.text,
      guestId: hardware.get("config.guestId")?.text,
      guestName: hardware.get("config.guestFullName")?.text,
      firmware: hardware.get("config.firmware")?.text,
      cpus: count("config.hardware.numCPU") ?? 0,
      coresPerSocket: count("config.hardware.numCoresPerSocket"),
      memory: memory === undefined ? bytes(0) : toBytes(memory, MIB),
      networks: parseNetworkCards(devices),
    },
    disks: parseDisks(devices),
    configPath: configPath(now),
    isTemplate: isTrue(state.get("config.template")),
    changeTracking: isTrue(hardware.get("config.changeTrackingEnabled")),
    toolsRunning: state.get("guest.toolsRunningStatus")?.text === "guestToolsRunning",
    consolidationNeeded: isTrue(state.get("runtime.consolidationNeeded")),
    snapshotObstacles: obstacles(now),
    ...hostOf(now),
  };
}

/** A VM that is off has a host too, which does nothing for it. */
function hostOf({ values }: ObjectProperties): Pick<VmDescription, "host"> {
  const host = values.get("runtime.host");
  return host === undefined || values.get("runtime.powerState")?.text !== "poweredOn" ? {} : { host: host.text };
}

/** The configuration file; a VM without a readable configuration still says it in its summary. */
function configPath({ values }: ObjectProperties): string | undefined {
  return (values.get("config.files.vmPathName") ?? values.get("summary.config.vmPathName"))?.text;
}

/** What is certain to make a snapshot fail, in words. Capability flags do not count: servers report them wrongly. */
function obstacles({ values }: ObjectProperties): string[] {
  const found: string[] = [];
  const connection = values.get("runtime.connectionState")?.text ?? "connected";
  if (connection !== "connected") found.push(`the server has lost the VM: its connection state is "${connection}"`);
  if (isTrue(values.get("config.template"))) found.push("it is a template, and templates have no snapshots");
  const question = values.get("runtime.question");
  if (question !== undefined) found.push(`it waits for an answer to the question "${textAt(question, "text") ?? ""}"`);
  const disabled = childrenNamed(values.get("disabledMethod"), "string").map((element) => element.text);
  // A template disables the method too, and was named above; so was a lost VM.
  if (found.length === 0 && disabled.includes("CreateSnapshot_Task")) {
    found.push("the server has disabled CreateSnapshot_Task for it, as other backup or migration jobs do");
  }
  if (values.has("config.ftInfo")) found.push("it is protected by Fault Tolerance, which rules out snapshots");
  return found;
}
