import {
  AuthError,
  BusyError,
  type ErrorOptions,
  HypervisorFaultError,
  IntegrityError,
  MissingCapabilityError,
  NotFoundError,
  UnreachableError,
  type VmmountError,
} from "../../errors.js";
import { XapiFault } from "./fault.js";

/** The name of an object by its reference, where it is known. */
export type NameOf = (ref: string) => string | undefined;

type Kind = "auth" | "absent" | "missing" | "busy" | "unreachable" | "space" | "passing" | "final" | "damaged";

interface Meaning {
  readonly kind: Kind;
  /** In words; `$1` and so on are the fault's parameters. */
  readonly text?: string;
  readonly hint?: string;
}

const IN_USE_HINT =
  "dom0 lets go of a disk some seconds after it was read; try again, or look for other backups of this VM";
const SPACE_HINT = "Free space in the storage repository, or remove snapshots and wait until their space is given back";
const ROLE_HINT = "Give the account a role that has the permission: docs/XEN.md lists what each command needs";

/** What the codes mean (xen-api, ocaml/idl/datamodel_errors.ml). */
const MEANINGS: Readonly<Record<string, Meaning>> = {
  SESSION_AUTHENTICATION_FAILED: { kind: "auth", text: "the user name or the password is wrong" },
  SESSION_AUTHORIZATION_FAILED: {
    kind: "auth",
    text: "the user is known, but has no role on this pool",
    hint: "Give the account a role with: xe subject-add and xe subject-role-add",
  },
  SESSION_INVALID: { kind: "auth", text: "the server has ended the session" },
  RBAC_PERMISSION_DENIED: { kind: "auth", text: "the account lacks the permission $1", hint: ROLE_HINT },
  RBAC_PERMISSION_DENIED_FRIENDLY: { kind: "auth", text: "the account lacks the permission $1", hint: ROLE_HINT },
  USER_IS_NOT_LOCAL_SUPERUSER: { kind: "auth", text: "only the host's local root may do that" },
  HANDLE_INVALID: { kind: "absent", text: "the $1 is gone ($2)" },
  UUID_INVALID: { kind: "absent", text: "there is no $1 with the UUID $2" },
  VDI_MISSING: { kind: "absent", text: "the disk image is missing in its storage repository" },
  MESSAGE_METHOD_UNKNOWN: { kind: "missing", text: "the server does not know the call $1" },
  MESSAGE_REMOVED: { kind: "missing", text: "the server no longer has this call" },
  MESSAGE_PARAMETER_COUNT_MISMATCH: { kind: "missing", text: "the server knows the call $1 with other parameters" },
  SR_OPERATION_NOT_SUPPORTED: {
    kind: "missing",
    text: "the storage repository $1 cannot do that",
    hint: "Raw disks and some kinds of storage have no snapshots",
  },
  LICENCE_RESTRICTION: { kind: "missing", text: "the pool's licence does not include $1" },
  LICENSE_RESTRICTION: { kind: "missing", text: "the pool's licence does not include $1" },
  VM_HAS_VUSBS: {
    kind: "missing",
    text: "a USB device is handed through to the VM, which rules out snapshots",
    hint: "Remove the USB device from the VM for the time of the backup",
  },
  VDI_IS_SHARABLE: { kind: "missing", text: "a disk is shared between VMs, which rules out snapshots" },
  VDI_ON_BOOT_MODE_INCOMPATIBLE_WITH_OPERATION: {
    kind: "missing",
    text: "a disk is reset at every boot, which rules out snapshots",
  },
  VDI_INCOMPATIBLE_TYPE: { kind: "missing", text: "the disk image is of the type $2" },
  VDI_TOO_LARGE: { kind: "missing", text: "the disk is larger than $2 bytes" },
  VM_LACKS_FEATURE: { kind: "missing", text: "its guest has no tools that could do it" },
  VM_CHECKPOINT_SUSPEND_FAILED: { kind: "final", text: "the guest could not be suspended for it" },
  VM_CHECKPOINT_RESUME_FAILED: {
    kind: "final",
    text: "the guest was suspended for it and does not go on",
    hint: "It stays suspended until somebody resumes it: xe vm-resume",
  },
  HOST_NOT_ENOUGH_FREE_MEMORY: { kind: "passing", text: "no host has enough free memory" },
  VM_IS_TEMPLATE: { kind: "missing", text: "it is a template" },
  VM_IS_SNAPSHOT: { kind: "missing", text: "it is a snapshot" },
  OTHER_OPERATION_IN_PROGRESS: { kind: "busy", text: "another operation is at work on it: $3" },
  VDI_IN_USE: { kind: "busy", text: "its disk is in use", hint: IN_USE_HINT },
  DEVICE_ALREADY_DETACHED: { kind: "busy", text: "the device was detached meanwhile" },
  TOO_MANY_PENDING_TASKS: { kind: "busy", text: "the server has too many tasks" },
  VM_BAD_POWER_STATE: { kind: "final", text: "its power state is $3, and must be one of: $2" },
  OPERATION_NOT_ALLOWED: { kind: "final", text: "the server does not allow it: $1" },
  OPERATION_BLOCKED: {
    kind: "final",
    text: "an administrator has blocked the operation: $2",
    hint: "xe vm-param-get param-name=blocked-operations shows what is blocked",
  },
  TASK_CANCELLED: { kind: "final", text: "the task was cancelled on the server" },
  SR_FULL: { kind: "space", text: "the storage repository is full", hint: SPACE_HINT },
  SR_BACKEND_FAILURE_44: { kind: "space", text: "the storage repository has no space left", hint: SPACE_HINT },
  SR_BACKEND_FAILURE_109: {
    kind: "final",
    text: "the chain of snapshots of a disk is too long",
    hint: "Remove snapshots of the VM and wait until the storage has merged them",
  },
  SR_BACKEND_FAILURE_24: { kind: "busy", text: "the disk image is in use", hint: IN_USE_HINT },
  SR_BACKEND_FAILURE_37: { kind: "busy", text: "the storage repository is locked" },
  SR_HAS_NO_PBDS: {
    kind: "passing",
    text: "no host is connected to the storage repository $1",
    hint: "xe pbd-list shows which connections are down, xe pbd-plug brings one up",
  },
  SR_NOT_ATTACHED: { kind: "passing", text: "the storage repository $1 is not connected" },
  VM_REQUIRES_SR: { kind: "passing", text: "no live host reaches the storage repository $2" },
  VDI_IO_ERROR: { kind: "passing", text: "the host cannot read or write the disk: $1" },
  HOST_IS_SLAVE: { kind: "unreachable", text: "the host is not the master of its pool; that is $1" },
  HOST_STILL_BOOTING: { kind: "unreachable", text: "the host is still starting" },
  HOST_OFFLINE: { kind: "unreachable", text: "the host $1 is down" },
  HOST_NOT_LIVE: { kind: "unreachable", text: "the host is down" },
  CANNOT_CONTACT_HOST: { kind: "unreachable", text: "the pool cannot reach its host $1" },
  NO_HOSTS_AVAILABLE: { kind: "unreachable", text: "no host of the pool can do it now" },
  IMPORT_INCOMPATIBLE_VERSION: {
    kind: "missing",
    text: "the archive was written by a newer version",
    hint: "A pool takes archives of its own version and of older ones",
  },
  IMPORT_ERROR: { kind: "damaged", text: "the server cannot use the archive: $1" },
  IMPORT_ERROR_PREMATURE_EOF: { kind: "damaged", text: "the archive ends too early" },
  IMPORT_ERROR_SOME_CHECKSUMS_FAILED: { kind: "damaged", text: "checksums of the archive do not fit its bytes" },
  IMPORT_ERROR_UNEXPECTED_FILE: { kind: "damaged", text: "the archive holds $2 where $1 should be" },
  IMPORT_ERROR_FAILED_TO_FIND_OBJECT: { kind: "damaged", text: "the archive lacks the object $1" },
  IMPORT_ERROR_ATTACHED_DISKS_NOT_FOUND: { kind: "damaged", text: "the archive lacks disks that its VM has" },
  NOT_SUPPORTED_DURING_UPGRADE: { kind: "passing", text: "the pool is being upgraded" },
};

/** Texts of the server go into one line of a terminal. */
const REASON_CHARS_MAX = 600;

/**
 * The error for a fault that ended an operation.
 * @param action what could not be done: `Cannot remove snapshot "x"`
 */
export function translateFault(fault: XapiFault, action: string, nameOf: NameOf = () => undefined): VmmountError {
  const meaning: Meaning = MEANINGS[fault.code] ?? { kind: isBackendTrouble(fault) ? "passing" : "final" };
  const message = `${action}: ${reasonOf(fault, meaning, nameOf)}`;
  const options: ErrorOptions = { cause: fault, hint: meaning.hint };
  const { code } = fault;
  switch (meaning.kind) {
    case "auth":
      return new AuthError(message, options);
    case "absent":
      return new NotFoundError(message, options);
    case "missing":
      return new MissingCapabilityError(message, options);
    case "busy":
      return new BusyError(message, { ...options, retryable: true });
    case "unreachable":
      return new UnreachableError(message, options);
    case "space":
      return new HypervisorFaultError(message, { ...options, fault: code, exit: "space" });
    case "damaged":
      return new IntegrityError(message, options);
    case "passing":
      return new HypervisorFaultError(message, { ...options, fault: code, retryable: true });
    case "final":
      return new HypervisorFaultError(message, { ...options, fault: code });
  }
}

/** Runs an operation; a fault that escapes it becomes a VmmountError. */
export async function translating<T>(action: string, operation: () => Promise<T>, nameOf?: NameOf): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    if (error instanceof XapiFault) throw translateFault(error, action, nameOf);
    throw error;
  }
}

/** Storage managers fail for a moment as well as for good: only their number says which, and these pass. */
function isBackendTrouble({ code }: XapiFault): boolean {
  return /^SR_BACKEND_FAILURE_(40|46|47|53|80|82|200)$/.test(code) || code === "INTERNAL_ERROR";
}

function reasonOf(fault: XapiFault, meaning: Meaning, nameOf: NameOf): string {
  const shown = fault.params.map((param) => {
    const name = nameOf(param);
    return name === undefined ? printed(param) : `"${printed(name)}"`;
  });
  const words = meaning.text?.replace(/\$([1-9])/g, (_, digit: string) => shown[Number(digit) - 1] ?? "?");
  const details = shown.filter((param) => param !== "" && !param.startsWith("OpaqueRef:"));
  // What a storage manager says is the only thing that tells one failure of it from another.
  const isStorage = fault.code.startsWith("SR_BACKEND_FAILURE");
  const rest = words === undefined || isStorage ? details.join(", ") : "";
  const text = [words, rest].filter((part) => part !== undefined && part !== "").join(": ");
  return `${text === "" ? "the server refuses" : text.slice(0, REASON_CHARS_MAX)} (${printed(fault.code)})`;
}

function printed(text: string): string {
  return text.replace(/[\s\u0000-\u001f\u007f-\u009f]+/g, " ").trim();
}
