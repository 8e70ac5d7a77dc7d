import t from "tap";
import { AuthError, CancelledError, UnreachableError } from "../../../src/errors.js";
import { lookAtEach } from "../../../src/gc/each-vm.js";
import type { VmIdentity } from "../../../src/hypervisor.js";
import { memoryVm } from "../../fixtures/memory-hypervisor.js";

const VMS = Array.from({ length: 40 }, (_, index) => memoryVm({ ref: `vm-${index}` }).description.identity);
const { signal } = new AbortController();

/** In another turn of the event loop, as a server answers. */
async function answer(vm: VmIdentity): Promise<string> {
  await new Promise((resolve) => setImmediate(resolve));
  return vm.ref;
}

void t.test("all are looked at, in order, and no more than a few at a time", async (t) => {
  let now = 0;
  let most = 0;
  const look = async (vm: VmIdentity): Promise<string> => {
    most = Math.max(most, ++now);
    const ref = await answer(vm);
    now--;
    return ref;
  };
  t.strictSame(
    await lookAtEach(VMS, look, signal),
    VMS.map(({ ref }) => ref),
  );
  t.equal(most, 8);
});

void t.test("a VM that cannot be looked at does not hide the others", async (t) => {
  const look = async (vm: VmIdentity): Promise<string> => {
    if (vm.ref === "vm-3") throw new AuthError("Cannot look at vm-3");
    return answer(vm);
  };
  const looks = await lookAtEach(VMS, look, signal);
  t.match(looks[3], { vm: { ref: "vm-3" }, failure: "Cannot look at vm-3" });
  t.strictSame(
    looks.filter((one) => typeof one === "string"),
    VMS.map(({ ref }) => ref).filter((ref) => ref !== "vm-3"),
  );
});

void t.test("a server that is gone ends it at once, with those that wait for their turn", async (t) => {
  let looks = 0;
  const look = async (vm: VmIdentity): Promise<string> => {
    looks++;
    if (vm.ref === "vm-3") throw new UnreachableError("Gone");
    return answer(vm);
  };
  await t.rejects(lookAtEach(VMS, look, signal), { name: "UnreachableError", message: "Gone" });
  t.ok(looks <= 8, `${looks} were begun`);
});

void t.test("so does the signal, whatever the looks say of it", async (t) => {
  const stop = new AbortController();
  const look = async (vm: VmIdentity): Promise<string> => {
    if (vm.ref === "vm-3") stop.abort(new CancelledError("Stopped", { signal: 2 }));
    if (stop.signal.aborted) throw new AuthError("Aborted");
    return answer(vm);
  };
  await t.rejects(lookAtEach(VMS, look, stop.signal), { name: "CancelledError" });
});
