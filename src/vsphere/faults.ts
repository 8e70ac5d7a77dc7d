import { childrenNamed, descend, textAt } from "./element.js";
import type { XmlElement } from "./xml.js";

/**
 * A fault as the server reported it, from a call or from a task. It stays inside src/vsphere: operations react to the
 * name and translate what is left with `translateFault`.
 */
export class SoapFault extends Error {
  /** The fault's class: `InvalidLogin`, `TaskInProgress` … */
  readonly fault: string;
  readonly detail: XmlElement | undefined;

  constructor(fault: string, text: string, detail: XmlElement | undefined) {
    super(text === "" ? fault : text);
    this.name = "SoapFault";
    this.fault = fault;
    this.detail = detail;
  }

  /** The fault is of that class or of a subclass. */
  is(fault: string): boolean {
    return isFault(this.fault, fault);
  }

  /** The server's explanations, where the real reason often stands: `msg.fileio.lock`, "Failed to lock the file". */
  get reasons(): { readonly key: string; readonly message: string }[] {
    const cause = descend(this.detail, "faultCause", "fault");
    return [...childrenNamed(this.detail, "faultMessage"), ...childrenNamed(cause, "faultMessage")].map((element) => ({
      key: textAt(element, "key") ?? "",
      message: textAt(element, "message") ?? "",
    }));
  }
}

/** Reads `soapenv:Fault`. */
export function parseSoapFault(fault: XmlElement): SoapFault {
  const text = textAt(fault, "faultstring") ?? "";
  const detail = descend(fault, "detail")?.children[0];
  if (detail === undefined) return new SoapFault(textAt(fault, "faultcode") ?? "UnknownFault", text, undefined);
  // The element is named after the class plus "Fault"; xsi:type says it without guessing.
  return new SoapFault(detail.xsiType ?? detail.name.replace(/Fault$/, ""), text, detail);
}

/** Reads a LocalizedMethodFault, as tasks and missing properties carry it. */
export function parseMethodFault(element: XmlElement): SoapFault {
  const fault = descend(element, "fault");
  return new SoapFault(fault?.xsiType ?? "UnknownFault", textAt(element, "localizedMessage") ?? "", fault);
}

/** Class to parent class (vSphere Web Services API reference, "Faults"), as far as something here depends on it. */
const PARENTS: Readonly<Record<string, string>> = {
  PasswordExpired: "InvalidLogin",
  NotAuthenticated: "NoPermission",
  NoPermission: "SecurityError",
  RestrictedVersion: "SecurityError",
  HostNotConnected: "HostCommunication",
  HostNotReachable: "HostCommunication",
  MethodNotFound: "InvalidRequest",
  FileLocked: "FileFault",
  FileNotFound: "FileFault",
  FileAlreadyExists: "FileFault",
  CannotAccessFile: "FileFault",
  CannotCreateFile: "FileFault",
  CannotDeleteFile: "FileFault",
  FileNotWritable: "FileFault",
  NoDiskSpace: "FileFault",
  ApplicationQuiesceFault: "SnapshotFault",
  FilesystemQuiesceFault: "SnapshotFault",
  SnapshotNoChange: "SnapshotFault",
  SnapshotDisabled: "SnapshotFault",
  SnapshotLocked: "SnapshotFault",
  TooManySnapshotLevels: "SnapshotFault",
  MultipleSnapshotsNotSupported: "SnapshotFault",
  MemorySnapshotOnIndependentDisk: "SnapshotFault",
  SnapshotIncompatibleDeviceInVm: "SnapshotFault",
  InvalidPowerState: "InvalidState",
  QuestionPending: "InvalidState",
  InvalidHostState: "InvalidState",
  GenericVmConfigFault: "VmConfigFault",
  CannotAccessVmComponent: "VmConfigFault",
  InvalidVmConfig: "VmConfigFault",
  InvalidDeviceSpec: "InvalidVmConfig",
};

export function isFault(fault: string, ancestor: string): boolean {
  for (let name: string | undefined = fault; name !== undefined; name = PARENTS[name]) {
    if (name === ancestor) return true;
  }
  return false;
}

/** The server is too old for the method, or does not offer it. */
export function isMissingMethod(error: unknown): error is SoapFault {
  return (
    error instanceof SoapFault && (error.is("MethodNotFound") || error.is("NotImplemented") || error.is("NotSupported"))
  );
}
