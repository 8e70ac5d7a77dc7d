import type { Snapshot } from "../hypervisor.js";
import { child, childrenNamed, isTrue, textAt, toMoRef } from "./element.js";
import type { XmlElement } from "./xml.js";

/** The property `snapshot` of a VM as a list, parents before children. */
export function parseSnapshotTree(info: XmlElement | undefined): Snapshot[] {
  return childrenNamed(info, "rootSnapshotList").flatMap((root) => flatten(root, 1));
}

function flatten(node: XmlElement, depth: number): Snapshot[] {
  const created = new Date(textAt(node, "createTime") ?? "");
  const snapshot: Snapshot = {
    ref: toMoRef(child(node, "snapshot")).id,
    name: textAt(node, "name") ?? "",
    description: textAt(node, "description") ?? "",
    // A time that cannot be read must not make the snapshot look fresh.
    createdAt: Number.isNaN(created.getTime()) ? new Date(0) : created,
    quiesced: isTrue(child(node, "quiesced")),
    depth,
  };
  return [snapshot, ...childrenNamed(node, "childSnapshotList").flatMap((below) => flatten(below, depth + 1))];
}
