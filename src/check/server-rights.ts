import { MissingCapabilityError } from "../errors.js";
import type { Right, ServerHealth } from "../health.js";
import { fail, type Finding, ok, skip, warn } from "./finding.js";

/** Each privilege by name, on the objects that it is needed on. */
export async function checkRights(
  health: ServerHealth,
  vm: string | undefined,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  try {
    const rights = await health.rights(vm, { signal });
    return rights.map(judgeRight);
  } catch (error) {
    if (!(error instanceof MissingCapabilityError)) throw error;
    return [skip("privileges", error.message, error.hint)];
  }
}

export function judgeRight({ name, on, object, purpose, need, isGranted, remedy }: Right): Finding {
  const id = `privilege.${name}@${on}`;
  if (isGranted) return ok(id, `${name} is granted on ${object}`);
  const text = `${name} is missing on ${object}: it is needed to ${purpose}`;
  if (need === "backup") return fail(id, "auth", text, remedy);
  return need === "better" ? warn(id, text, remedy) : skip(id, text, remedy);
}
