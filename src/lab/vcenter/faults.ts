import { data, moref, type Data, type Moref, type Value } from "./values.js";

/** A fault on its way to the client: as SOAP fault of a call, or as the error of a task. */
export class Fault extends Error {
  readonly detail: Data;

  constructor(detail: Data, message: string) {
    super(message);
    this.name = "Fault";
    this.detail = detail;
  }
}

/** What a vCenter says in English for the faults that clients meet; `{name}` takes a field of the fault. */
const MESSAGES: Readonly<Record<string, string>> = {
  InvalidLogin: "Cannot complete login due to an incorrect user name or password.",
  NotAuthenticated: "The session is not authenticated.",
  NoPermission: "Permission to perform this operation was denied.",
  RestrictedVersion: "Current license or ESXi version prohibits execution of the requested operation.",
  ManagedObjectNotFound: "The object '{obj}' has already been deleted or has not been completely created",
  InvalidProperty: "The property {name} is not valid.",
  InvalidCollectorVersion: "The version is not valid.",
  InvalidArgument: "A specified parameter was not correct: {invalidProperty}",
  InvalidPowerState: "The attempted operation cannot be performed in the current state ({existingState}).",
  InvalidState: "The operation is not allowed in the current state.",
  InvalidName: "The name '{name}' is invalid.",
  NotFound: "The object or item referred to could not be found.",
  NotSupported: "The operation is not supported on the object.",
  RequestCanceled: "The task was canceled by a user.",
  TaskInProgress: "The operation is not allowed because another task is in progress.",
  ApplicationQuiesceFault: "The guest OS has reported an error during quiescing.",
  FilesystemQuiesceFault:
    "An error occurred while quiescing the virtual machine. See the virtual machine's event log for details.",
  FileFault: "Error accessing file {file}.",
  FileLocked: "Unable to access file {file} since it is locked",
  FileNotFound: "File {file} was not found",
  NoDiskSpace: "There is not enough space on the datastore {datastore}.",
  TooManySnapshotLevels: "Snapshot hierarchy is too deep.",
  ToolsUnavailable: "The operation cannot be performed because VMware Tools is not running in this virtual machine.",
  MethodDisabled: "The method is disabled by '{source}'",
  HostNotConnected: "Unable to communicate with the remote host, since it is disconnected.",
  QuestionPending: "The operation cannot be performed until the virtual machine's question is answered: {text}",
  SystemError: "A general system error occurred: {reason}",
  GenericVmConfigFault: "{reason}",
};

export function fault(is: string, fields: Readonly<Record<string, Value | undefined>> = {}, message?: string): Fault {
  const template = message ?? MESSAGES[is] ?? `${is}.`;
  const text = template.replace(/\{(\w+)\}/g, (_, name: string) => shown(fields[name]));
  return new Fault(data(is, fields), text);
}

function shown(value: Value | undefined): string {
  if (typeof value === "object" && "ref" in value) return `vim.${value.type}:${value.ref}`;
  return typeof value === "string" ? value : "";
}

/** A request that the parser of a vCenter does not take. */
export function invalidRequest(message: string): Fault {
  return new Fault(data("InvalidRequest"), message);
}

export function notFound(target: Moref): Fault {
  return fault("ManagedObjectNotFound", { obj: target });
}

export function notAuthenticated(target: Moref = moref("Folder", "group-d1")): Fault {
  return fault("NotAuthenticated", { object: target, privilegeId: "System.View" });
}

/** As `LocalizedMethodFault`, the form inside tasks and missing sets. */
export function localized(problem: Fault): Data {
  return data("LocalizedMethodFault", { fault: problem.detail, localizedMessage: problem.message });
}
