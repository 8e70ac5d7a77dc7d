import { setTimeout as sleep } from "node:timers/promises";
import type { RuleAction } from "../../rules.js";
import { XapiFault } from "../fault.js";
import { during } from "../operations.js";
import { permissionsOf } from "../permissions.js";
import type { PoolHost } from "../pool-host.js";
import { isAtLeast } from "../roles.js";
import type { PoolTask } from "../tasks.js";
import { textOf, type Value } from "../value.js";
import type { XenPool } from "../xen-pool.js";
import { Arguments, parametersFor, parseParameters } from "./arguments.js";
import type { RpcCall } from "./message.js";
import type { Method } from "./method.js";
import { isRemoved } from "./method-table.js";

const ASYNC = "Async.";
/** Steps of progress that a task of a given duration shows. */
const PROGRESS_STEPS = 10;

const LOGIN = parseParameters("uname pwd version? originator?");

/** The method without `Async.`: what rules and counters know it by. */
export function plainName(method: string): string {
  return method.startsWith(ASYNC) ? method.slice(ASYNC.length) : method;
}

/** Whether an answer comes without its envelope. */
export function isBare(method: string): boolean {
  return method === "system.listMethods";
}

export interface DispatchFacts {
  readonly pool: XenPool;
  /** The host that was asked. */
  readonly host: PoolHost;
  readonly table: ReadonlyMap<string, Method>;
  readonly actions: readonly RuleAction[];
  /** Aborted when the client has gone. */
  readonly signal: AbortSignal;
}

/** Answers one call. @throws XapiFault */
export async function dispatch(call: RpcCall, facts: DispatchFacts): Promise<Value> {
  const { pool, host, table, actions } = facts;
  if (call.method === "system.listMethods") return [...openMethods(), ...listed(table)];
  if (host !== pool.master) throw new XapiFault("HOST_IS_SLAVE", pool.master.address);
  if (call.method === "session.login_with_password") {
    throwFault(actions, "call");
    return login(call.params, facts);
  }
  const name = plainName(call.method);
  const isAsync = name !== call.method;
  const method = table.get(name);
  if (method === undefined || (isAsync && !method.isAsync)) throw new XapiFault("MESSAGE_METHOD_UNKNOWN", call.method);
  const session = pool.sessions.use(textOf(call.params[0]));
  if (isRemoved(method, pool.profile.name)) throw new XapiFault("MESSAGE_REMOVED");
  const parameters = parametersFor(method.parameters, pool.profile.name);
  const args = Arguments.read(name, parameters, call.params.slice(1));
  if (!isAtLeast(session.role, method.role)) {
    throw new XapiFault("RBAC_PERMISSION_DENIED", name.toLowerCase(), "No permission in user session");
  }
  throwFault(actions, "call");
  args.assertReferences(parameters, pool.database);
  const run = async (task: PoolTask, signal: AbortSignal): Promise<Value> => {
    const work = (): Promise<void> => pretend(task, actions);
    const [ref] = call.params.slice(1).map(textOf);
    const { operation } = method;
    if (operation === undefined || ref === undefined) await work();
    else await during(pool.database, { className: "VM", ref, operation, task: task.ref }, work);
    throwFault(actions, "task");
    const value = await method.run({ pool, host, session, args, task, signal });
    // Whoever is told of an effect must find it after a crash.
    await pool.save();
    return value;
  };
  if (!isAsync) return run(pool.tasks.unseen(), facts.signal);
  const ref = pool.tasks.create(call.method, "", host.ref);
  pool.tasks.start(ref, (task) => run(task, task.signal));
  return ref;
}

async function login(params: readonly Value[], { pool, host, table }: DispatchFacts): Promise<Value> {
  const args = Arguments.read("session.login_with_password", LOGIN, params);
  pool.traffic.login();
  try {
    const session = pool.sessions.login(args.text("uname"), args.text("pwd"), args.text("originator"), host.ref);
    // The local superuser needs none, and lists none.
    if (!pool.sessions.isSuperuser(session)) {
      pool.database.update("session", session.ref, { rbac_permissions: permissionsOf(session.role, table) });
    }
    return session.ref;
  } catch (error) {
    await sleep(pool.rules.settings.wrongPasswordMs);
    throw error;
  }
}

function throwFault(actions: readonly RuleAction[], where: "call" | "task"): void {
  const failure = actions.find((action) => action.kind === "fault" && action.where === where);
  if (failure?.kind === "fault") throw new XapiFault(failure.name, ...failure.parameters);
}

/** How long the work takes before it has its effect, with progress in between; a cancelled task ends here. */
async function pretend(task: PoolTask, actions: readonly RuleAction[]): Promise<void> {
  const duration = actions.find((action) => action.kind === "taskDuration");
  if (duration?.kind !== "taskDuration") return;
  for (let step = 0; step < PROGRESS_STEPS; step++) {
    task.setProgress(step / PROGRESS_STEPS);
    await sleep(duration.ms / PROGRESS_STEPS, undefined, { signal: task.signal });
  }
}

function openMethods(): string[] {
  return ["system.listMethods", "session.login_with_password"];
}

function listed(table: ReadonlyMap<string, Method>): string[] {
  return [...table.values()].flatMap(({ name, isAsync }) => (isAsync ? [name, `${ASYNC}${name}`] : [name]));
}
