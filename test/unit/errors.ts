import t from "tap";
import {
  AuthError,
  CancelledError,
  DiskIoError,
  errorChain,
  errorFacts,
  type ErrorFacts,
  HypervisorFaultError,
  IntegrityError,
  RemoteError,
  UnreachableError,
  unwrapAbort,
  UsageError,
  type VmmountError,
} from "../../src/errors.js";
import * as errors from "../../src/errors.js";

void t.test("every class has its exit code and its name", (t) => {
  const codes: Record<string, number> = {
    UsageError: 64,
    IntegrityError: 65,
    NotFoundError: 66,
    AmbiguousError: 67,
    UnreachableError: 68,
    MissingCapabilityError: 69,
    SnapshotError: 71,
    QuiesceError: 72,
    BusyError: 73,
    DiskIoError: 74,
    LeftoverError: 76,
    AuthError: 77,
    ConfigError: 78,
    RefusedError: 79,
  };
  for (const [name, code] of Object.entries(codes)) {
    const made = new (errors as unknown as Record<string, new (message: string) => VmmountError>)[name]!("Cannot");
    t.match(made, { name, exitCode: code, message: "Cannot", hint: undefined, retryable: name === "UnreachableError" });
    t.notOk("cause" in made, "no cause unless one is given");
  }
  t.end();
});

void t.test("options override what the class says", (t) => {
  const cause = new Error("root");
  const error = new DiskIoError("Cannot read", { cause, hint: "Look", retryable: true, exit: "space" });
  t.match(error, { cause, hint: "Look", retryable: true, exitCode: 80 });
  t.equal(new UnreachableError("x", { retryable: false }).retryable, false);
  t.equal(new HypervisorFaultError("x", { fault: "InvalidState" }).fault, "InvalidState");
  t.end();
});

void t.test("a cancelled run exits like a shell says", (t) => {
  t.equal(new CancelledError("Interrupted", { signal: 2 }).exitCode, 130);
  t.equal(new CancelledError("Interrupted", { signal: 0 }).exitCode, 128);
  t.end();
});

void t.test("errorFacts() and RemoteError keep everything over a process border", (t) => {
  for (const error of [
    new AuthError("Cannot log in", { hint: "Check the password" }),
    new CancelledError("Interrupted", { signal: 15 }),
    new UnreachableError("Cannot connect"),
  ]) {
    const remote = new RemoteError(JSON.parse(JSON.stringify(errorFacts(error))) as ErrorFacts);
    t.strictSame(errorFacts(remote), errorFacts(error));
  }
  t.end();
});

void t.test("errorFacts() takes anything else for a bug", (t) => {
  t.match(errorFacts(new TypeError("undefined is not a function")), {
    code: 70,
    name: "internal",
    kind: "TypeError",
    message: "undefined is not a function",
    retryable: false,
  });
  t.match(errorFacts("thrown text"), { code: 70, kind: "Error", message: "thrown text" });
  t.end();
});

void t.test("unwrapAbort() gives the reason of an abort back", async (t) => {
  const reason = new UsageError("Cannot go on");
  const { setTimeout: delay } = await import("node:timers/promises");
  const thrown: unknown = await delay(1, undefined, { signal: AbortSignal.abort(reason) }).catch((e: unknown) => e);
  t.equal(unwrapAbort(thrown), reason);
  t.equal(errorFacts(thrown).code, 64);
  const foreign = new DOMException("This operation was aborted", "AbortError");
  t.equal(unwrapAbort(foreign), foreign);
  t.equal(unwrapAbort("text"), "text");
});

void t.test("errorChain() tells the causes, root last, and ends", (t) => {
  const root = new Error("connection reset");
  const middle = new DiskIoError("Cannot read", { cause: root });
  t.equal(
    errorChain(new IntegrityError("Cannot mount", { cause: middle })),
    "Cannot mount: Cannot read: connection reset",
  );
  t.equal(errorChain(new Error("same", { cause: new Error("same") })), "same");
  t.equal(errorChain({ code: 7 }), "{ code: 7 }");
  t.equal(errorChain(undefined), "");
  const cycle = new Error("a");
  cycle.cause = new Error("b", { cause: cycle });
  t.equal(errorChain(cycle).split(": ").length, 8);
  t.end();
});
