import type { Database } from "./database/database.js";
import { XapiFault } from "./fault.js";

/** Operations that may run on one object at the same time. */
const TOGETHER: readonly ReadonlySet<string>[] = [
  new Set(["clone", "copy", "export"]),
  new Set(["snapshot", "checkpoint"]),
];

/**
 * Runs an operation that the object shows in its current_operations meanwhile.
 * @throws XapiFault OTHER_OPERATION_IN_PROGRESS
 */
export async function during<T>(
  database: Database,
  { className, ref, operation, task }: OperationOn,
  run: () => Promise<T>,
): Promise<T> {
  assertFree(database, { className, ref, operation, task });
  const before = database.row(className, ref)["current_operations"] as Readonly<Record<string, string>>;
  database.update(className, ref, { current_operations: { ...before, [task]: operation } });
  try {
    return await run();
  } finally {
    if (database.has(className, ref)) {
      const now = database.row(className, ref)["current_operations"] as Readonly<Record<string, string>>;
      const rest = Object.entries(now).filter(([key]) => key !== task);
      database.update(className, ref, { current_operations: Object.fromEntries(rest) });
    }
  }
}

export interface OperationOn {
  readonly className: "VM" | "VDI" | "VBD";
  readonly ref: string;
  /** `snapshot`, `export` … */
  readonly operation: string;
  /** Reference of the task on whose behalf it runs. */
  readonly task: string;
}

/** @throws XapiFault OTHER_OPERATION_IN_PROGRESS */
export function assertFree(database: Database, { className, ref, operation }: OperationOn): void {
  const running = database.row(className, ref)["current_operations"] as Readonly<Record<string, string>>;
  for (const [task, other] of Object.entries(running)) {
    if (TOGETHER.some((set) => set.has(operation) && set.has(other))) continue;
    if (other === "metadata_export" || operation === "metadata_export") continue;
    throw new XapiFault("OTHER_OPERATION_IN_PROGRESS", className, ref, other, task);
  }
}
