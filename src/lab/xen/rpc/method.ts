import type { PoolHost } from "../pool-host.js";
import type { ProfileName } from "../profile.js";
import type { Role } from "../roles.js";
import type { PoolSession } from "../sessions.js";
import type { PoolTask } from "../tasks.js";
import type { Value } from "../value.js";
import type { XenPool } from "../xen-pool.js";
import { parseParameters, type Arguments, type Parameter } from "./arguments.js";

/** One call of a method whose session, role and parameters are checked. */
export interface MethodCall {
  readonly pool: XenPool;
  /** The master. */
  readonly host: PoolHost;
  readonly session: PoolSession;
  readonly args: Arguments;
  /** In the database for calls made with `Async.` */
  readonly task: PoolTask;
  /** Aborted when the client has gone or has cancelled the task. */
  readonly signal: AbortSignal;
}

export interface Method {
  readonly name: string;
  readonly role: Role;
  /** Without the session. */
  readonly parameters: readonly Parameter[];
  /** Whether it can be called with `Async.` */
  readonly isAsync: boolean;
  readonly since: ProfileName | undefined;
  /** The first release that answers MESSAGE_REMOVED. */
  readonly removed: ProfileName | undefined;
  /** What the VM that comes first shows in its current_operations from the task's beginning. */
  readonly operation: string | undefined;
  readonly run: (call: MethodCall) => Value | Promise<Value>;
}

interface Traits {
  readonly role: Role;
  /** See parseParameters. */
  readonly takes?: string;
  readonly isAsync?: boolean;
  readonly since?: ProfileName;
  readonly removed?: ProfileName;
  readonly operation?: string;
}

export function method(name: string, traits: Traits, run: Method["run"]): Method {
  const { role, takes = "", isAsync = true, since, removed, operation } = traits;
  return { name, role, parameters: parseParameters(takes), isAsync, since, removed, operation, run };
}
