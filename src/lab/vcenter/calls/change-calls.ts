import { TRACKING_BLOCK_BYTES } from "../../disk/change-log.js";
import type { LabDisk } from "../../disk/lab-disk.js";
import type { MachineSnapshot } from "../../machine.js";
import { alignRanges, clipRanges, type Range } from "../../ranges.js";
import type { Call, Handler, Handlers } from "../call.js";
import { fault, notFound } from "../faults.js";
import { data, type Data } from "../values.js";

/**
 * `QueryChangedDiskAreas`: what was written between a change id and a snapshot, or for `*` what is allocated. An
 * answer covers `[startOffset, startOffset + length)`; the client asks again from its end.
 */
async function queryChangedDiskAreas(call: Call): Promise<Data> {
  const { server, target, args } = call;
  const machine = server.machineOf(target.ref);
  if (machine === undefined) throw notFound(target.ref);
  const disk = machine.disks.find((candidate) => candidate.key === args.integer("deviceKey"));
  if (disk === undefined || disk.isOutsideSnapshots || !machine.changeTracking) {
    throw fault("InvalidArgument", { invalidProperty: "deviceKey" });
  }
  const asked = args.ref("snapshot");
  const snapshot = asked === undefined ? undefined : machine.snapshot(asked.ref);
  if (asked !== undefined && snapshot === undefined) throw notFound(asked);
  if (snapshot === undefined && machine.power === "on") {
    throw fault("FileFault", { file: machine.datastorePath(disk.newest.link.files.descriptor) });
  }
  const start = args.integer("startOffset") ?? 0;
  if (start < 0 || start >= disk.capacity) throw fault("InvalidArgument", { invalidProperty: "startOffset" });
  const changed = await areas(disk, snapshot, args.text("changeId") ?? "");
  return page(changed, start, disk.capacity, server.rules.settings.changedAreasMax);
}

async function areas(disk: LabDisk, snapshot: MachineSnapshot | undefined, changeId: string): Promise<Range[]> {
  const at = snapshot?.disks.get(disk.key);
  if (changeId === "*") return alignRanges(await disk.allocated(at?.frozen), TRACKING_BLOCK_BYTES, disk.capacity);
  const changed = disk.changes.since(changeId, at?.changeId);
  if (changed === undefined) throw fault("InvalidArgument", { invalidProperty: "changeId" });
  return changed;
}

function page(all: readonly Range[], start: number, capacity: number, max: number): Data {
  const inside = clipRanges(all, start, capacity);
  const shown = inside.slice(0, max);
  const last = shown.at(-1);
  const end = inside.length > shown.length && last !== undefined ? last.start + last.length : capacity;
  return data("DiskChangeInfo", {
    startOffset: start,
    length: end - start,
    changedArea: shown.map((range) => data("DiskChangeExtent", { start: range.start, length: range.length })),
  });
}

export const CHANGE_CALLS: Handlers<Handler> = {
  VirtualMachine: { QueryChangedDiskAreas: queryChangedDiskAreas },
};
