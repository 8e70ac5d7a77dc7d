import pLimit from "p-limit";
import { errorChain, UnreachableError } from "../errors.js";
import type { VmIdentity } from "../hypervisor.js";

/** Short calls; more at a time only queue up in the server. */
const VMS_MAX = 8;

export interface UnseenVm {
  readonly vm: VmIdentity;
  /** Why nobody could look at it. */
  readonly failure: string;
}

/**
 * Looks at every VM, several at a time. One that cannot be looked at, as for a missing privilege, does not hide the others;
 * a server that is gone, or being stopped, ends all of it, with nothing left under way.
 * @throws UnreachableError; the signal's reason
 */
export async function lookAtEach<T>(
  vms: readonly VmIdentity[],
  look: (vm: VmIdentity) => Promise<T>,
  signal: AbortSignal,
): Promise<(T | UnseenVm)[]> {
  const turn = pLimit(VMS_MAX);
  let end: { readonly reason: unknown } | undefined;
  const guarded = async (vm: VmIdentity): Promise<T | UnseenVm> => {
    try {
      // Those that wait for their turn must come to an end as well.
      if (end !== undefined) throw end.reason;
      return await look(vm);
    } catch (error) {
      if (!(error instanceof UnreachableError) && !signal.aborted && end === undefined) {
        return { vm, failure: errorChain(error) };
      }
      end ??= { reason: error };
      throw error;
    }
  };
  const looks = await Promise.allSettled(vms.map((vm) => turn(() => guarded(vm))));
  signal.throwIfAborted();
  return looks.map((one) => {
    if (one.status === "rejected") throw end?.reason ?? one.reason;
    return one.value;
  });
}
