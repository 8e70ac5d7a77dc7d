import t from "tap";
import { BusyError, errorFacts, LeftoverError, SnapshotError, type VmmountError } from "../../../../src/errors.js";
import { throwIfAnyFailed } from "../../../../src/mount/many/outcome.js";
import { throwIfAnyStays, type UnmountOutcome } from "../../../../src/mount/many/unmount-many.js";

function thrown(work: () => void): VmmountError | undefined {
  try {
    work();
    return undefined;
  } catch (error) {
    return error as VmmountError;
  }
}

const busy = errorFacts(new BusyError("Busy", { hint: "Wait" }));
const snapshot = errorFacts(new SnapshotError("No snapshot"));

void t.test("how a mount of several ends", (t) => {
  t.equal(
    thrown(() => {
      throwIfAnyFailed("mount", 3, []);
    }),
    undefined,
  );
  t.match(
    thrown(() => {
      throwIfAnyFailed("mount", 3, [busy]);
    }),
    { exitCode: 81, message: /1 of 3 VMs: Busy/, hint: "Wait" },
  );
  t.match(
    thrown(() => {
      throwIfAnyFailed("mount", 2, [busy, busy]);
    }),
    { exitCode: 73, message: /2 of 2 VMs$/ },
  );
  t.match(
    thrown(() => {
      throwIfAnyFailed("mount", 2, [busy, snapshot]);
    }),
    { exitCode: 81 },
  );
  t.end();
});

void t.test("how an umount of several ends", (t) => {
  const of = (error?: ReturnType<typeof errorFacts>): UnmountOutcome => ({
    mountPoint: "/mnt/a",
    session: "s",
    state: error === undefined ? "unmounted" : "failed",
    message: error?.message ?? "Unmounted",
    ...(error !== undefined && { error }),
  });
  const left = errorFacts(new LeftoverError("Left"));
  t.equal(
    thrown(() => {
      throwIfAnyStays([of(), of()]);
    }),
    undefined,
  );
  t.match(
    thrown(() => {
      throwIfAnyStays([of(), of(busy)]);
    }),
    { exitCode: 81 },
  );
  t.match(
    thrown(() => {
      throwIfAnyStays([of(), of(busy), of(left)]);
    }),
    { exitCode: 76, message: /Busy; Left/ },
  );
  t.match(
    thrown(() => {
      throwIfAnyStays([of(busy)]);
    }),
    { exitCode: 73 },
  );
  t.end();
});
