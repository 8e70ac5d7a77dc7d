import {
  AuthError,
  BusyError,
  type ErrorOptions,
  HypervisorFaultError,
  MissingCapabilityError,
  NotFoundError,
  type VmmountError,
} from "../errors.js";
import { childrenNamed, descend, textAt } from "./element.js";
import { SoapFault } from "./faults.js";

/** Somebody else is at work; the same call may succeed after a pause. */
const BUSY = ["TaskInProgress", "ConcurrentAccess", "FileLocked", "ResourceInUse"];
/** Trouble behind the server, or a guest that may do better next time. */
const PASSING = [
  "HostCommunication",
  "Timedout",
  "InvalidHostState",
  "ApplicationQuiesceFault",
  "FilesystemQuiesceFault",
  "GenericVmConfigFault",
  "SystemError",
];
const MISSING = ["MethodNotFound", "NotImplemented", "NotSupported"];
const ABSENT = ["ManagedObjectNotFound", "NotFound", "FileNotFound"];
/** The server's texts go into one line of a terminal. */
const REASON_CHARS_MAX = 600;

/**
 * The error for a fault that ended an operation.
 * @param action what could not be done: "Cannot remove snapshot snapshot-33"
 */
export function translateFault(fault: SoapFault, action: string): VmmountError {
  const message = `${action}: ${faultReason(fault)}`;
  const isAny = (names: readonly string[]): boolean => names.some((name) => fault.is(name));
  const options: ErrorOptions = { cause: fault };
  if (fault.is("InvalidLogin")) return new AuthError(message, options);
  if (fault.is("NotAuthenticated")) return new AuthError(message, { ...options, hint: "The server ended the session" });
  if (fault.is("NoPermission")) return new AuthError(`${action}: ${permissionReason(fault)}`, options);
  if (fault.is("RestrictedVersion")) {
    return new MissingCapabilityError(message, {
      ...options,
      hint: "The free ESXi licence refuses backup calls: a paid licence or a vCenter is needed",
    });
  }
  if (isAny(ABSENT)) return new NotFoundError(message, options);
  if (isAny(MISSING)) return new MissingCapabilityError(message, options);
  if (isAny(BUSY)) return new BusyError(message, { ...options, retryable: true });
  if (fault.is("NoDiskSpace"))
    return new HypervisorFaultError(message, { ...options, fault: fault.fault, exit: "space" });
  if (fault.is("QuestionPending")) {
    return new HypervisorFaultError(message, {
      ...options,
      fault: fault.fault,
      hint: "The VM waits for an answer: give it in the vSphere Client",
    });
  }
  return new HypervisorFaultError(message, { ...options, fault: fault.fault, retryable: isAny(PASSING) });
}

/** Runs an operation; a fault that escapes it becomes a VmmountError. */
export async function translating<T>(action: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    if (error instanceof SoapFault) throw translateFault(error, action);
    throw error;
  }
}

/** The server's words for a fault, without control characters. */
function faultReason(fault: SoapFault): string {
  const parts = [fault.message, ...fault.reasons.map((reason) => reason.message)].map((part) =>
    part
      .replace(/[\s\u0000-\u001f\u007f]+/g, " ")
      .trim()
      .replace(/\.$/, ""),
  );
  const distinct = [...new Set(parts.filter((part) => part !== ""))];
  const text = distinct.join("; ").slice(0, REASON_CHARS_MAX);
  return text.includes(fault.fault) ? text : `${text} (${fault.fault})`;
}

/** Names object and privilege: all that an administrator needs to fix the role. */
function permissionReason(fault: SoapFault): string {
  const rows = childrenNamed(fault.detail, "missingPrivileges").map((row) => ({
    object: descend(row, "entity")?.text,
    privileges: childrenNamed(row, "privilegeIds").map((id) => id.text),
  }));
  const privilege = textAt(fault.detail, "privilegeId");
  const object = descend(fault.detail, "object");
  if (rows.length === 0 && privilege !== undefined) rows.push({ object: object?.text, privileges: [privilege] });
  if (rows.length === 0) return faultReason(fault);
  const text = rows.map(
    (row) => `${row.privileges.join(", ")} on ${object?.type ?? "object"} ${row.object ?? "unknown"}`,
  );
  return `the account lacks the privilege ${text.join("; ")}`;
}
