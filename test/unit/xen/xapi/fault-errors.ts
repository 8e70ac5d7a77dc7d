import t from "tap";
import { errorFacts } from "../../../../src/errors.js";
import { XapiFault } from "../../../../src/xen/xapi/fault.js";
import { translateFault } from "../../../../src/xen/xapi/fault-errors.js";

const nameOf = (ref: string): string | undefined => (ref === "OpaqueRef:sr" ? "nas1" : undefined);

void t.test("a fault becomes an error that names object, reason and code", (t) => {
  const cases: readonly (readonly [string, readonly string[], object])[] = [
    ["SESSION_AUTHENTICATION_FAILED", ["root", "no"], { kind: "AuthError", retryable: false }],
    [
      "RBAC_PERMISSION_DENIED",
      ["VM.snapshot", "x"],
      { kind: "AuthError", message: /the permission VM\.snapshot/, hint: /docs\/XEN\.md/ },
    ],
    ["HANDLE_INVALID", ["VM", "OpaqueRef:1"], { kind: "NotFoundError", message: /the VM is gone/, retryable: false }],
    ["SR_HAS_NO_PBDS", ["OpaqueRef:sr"], { message: /storage repository "nas1" \(SR_HAS_NO_PBDS\)/, retryable: true }],
    ["SR_FULL", ["10", "5"], { kind: "HypervisorFaultError", name: "space", retryable: false }],
    ["VDI_IN_USE", ["OpaqueRef:1", "destroy"], { kind: "BusyError", retryable: true }],
    [
      "VM_BAD_POWER_STATE",
      ["OpaqueRef:1", "halted, suspended", "running"],
      { message: /is running, and must be one of: halted, suspended/ },
    ],
    [
      "SR_BACKEND_FAILURE_109",
      ["", "The snapshot chain is too long", ""],
      { message: /too long: The snapshot chain/, retryable: false },
    ],
    ["SR_BACKEND_FAILURE_46", ["", "not detached cleanly", ""], { message: /not detached cleanly/, retryable: true }],
    ["HOST_STILL_BOOTING", [], { kind: "UnreachableError", retryable: true }],
    ["MESSAGE_REMOVED", [], { kind: "MissingCapabilityError", retryable: false }],
    ["LICENCE_RESTRICTION", ["checkpoint"], { kind: "MissingCapabilityError" }],
    ["LICENSE_RESTRICTION", ["checkpoint"], { kind: "MissingCapabilityError" }],
    [
      "NEVER_HEARD_OF",
      ["a\u001b[31m\nb"],
      { message: /^Cannot do it: a \[31m b \(NEVER_HEARD_OF\)$/, retryable: false },
    ],
  ];
  for (const [code, params, facts] of cases) {
    t.match(errorFacts(translateFault(new XapiFault(code, params), "Cannot do it", nameOf)), facts, code);
  }
  t.end();
});
