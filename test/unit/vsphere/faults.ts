import t from "tap";
import { translateFault } from "../../../src/vsphere/fault-errors.js";
import { isFault, isMissingMethod, parseMethodFault, parseSoapFault, SoapFault } from "../../../src/vsphere/faults.js";
import { parseXml } from "../../../src/vsphere/xml.js";

const XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"';

function soapFault(detail: string, text = "Text."): SoapFault {
  return parseSoapFault(
    parseXml(
      `<Fault ${XSI}><faultcode>ServerFaultCode</faultcode><faultstring>${text}</faultstring><detail>${detail}</detail></Fault>`,
    ),
  );
}

await t.test("the name comes from xsi:type, else from the element", (t) => {
  t.equal(soapFault('<NotAuthenticatedFault xsi:type="NotAuthenticated"/>').fault, "NotAuthenticated");
  t.equal(soapFault("<RuntimeFaultFault/>").fault, "RuntimeFault");
  t.equal(soapFault("").fault, "ServerFaultCode");
  const task = parseMethodFault(
    parseXml(`<error ${XSI}><fault xsi:type="FileLocked"/><localizedMessage>L.</localizedMessage></error>`),
  );
  t.match(task, { fault: "FileLocked", message: "L." });
  t.equal(parseMethodFault(parseXml("<error/>")).fault, "UnknownFault");
  t.end();
});

await t.test("a fault is what its ancestors are", (t) => {
  t.ok(isFault("NotAuthenticated", "NoPermission"));
  t.ok(isFault("InvalidDeviceSpec", "VmConfigFault"));
  t.ok(isFault("FileLocked", "FileFault"));
  t.notOk(isFault("FileFault", "FileLocked"));
  t.notOk(isFault("constructor", "FileFault"));
  t.ok(isMissingMethod(new SoapFault("NotImplemented", "", undefined)));
  t.notOk(isMissingMethod(new Error("x")));
  t.end();
});

await t.test("each fault becomes what a caller can act on", (t) => {
  const cases = [
    ["InvalidLogin", "AuthError", 77, false],
    ["PasswordExpired", "AuthError", 77, false],
    ["NotAuthenticated", "AuthError", 77, false],
    ["NoPermission", "AuthError", 77, false],
    ["RestrictedVersion", "MissingCapabilityError", 69, false],
    ["ManagedObjectNotFound", "NotFoundError", 66, false],
    ["FileNotFound", "NotFoundError", 66, false],
    ["MethodNotFound", "MissingCapabilityError", 69, false],
    ["TaskInProgress", "BusyError", 73, true],
    ["FileLocked", "BusyError", 73, true],
    ["HostNotConnected", "HypervisorFaultError", 69, true],
    ["NoDiskSpace", "HypervisorFaultError", 80, false],
    ["QuestionPending", "HypervisorFaultError", 69, false],
    ["InvalidArgument", "HypervisorFaultError", 69, false],
    ["SomethingNewFault", "HypervisorFaultError", 69, false],
  ] as const;
  for (const [fault, name, exitCode, retryable] of cases) {
    const error = translateFault(new SoapFault(fault, "It failed.", undefined), "Cannot do it");
    t.match(error, { name, exitCode, retryable }, fault);
    if (fault !== "NoPermission") t.equal(error.message, `Cannot do it: It failed (${fault})`);
  }
  t.end();
});

await t.test("the server's own reasons are told, in one line", (t) => {
  const detail =
    '<FileLockedFault xsi:type="FileLocked"><faultMessage><key>msg.fileio.lock</key><message>Failed to\n lock\u007f the file.</message>' +
    "</faultMessage></FileLockedFault>";
  const error = translateFault(soapFault(detail, "Unable to access file."), "Cannot read");
  t.equal(error.message, "Cannot read: Unable to access file; Failed to lock the file (FileLocked)");
  t.end();
});

await t.test("every missing privilege of a newer server is listed", (t) => {
  const detail =
    '<NoPermissionFault xsi:type="NoPermission"><object type="VirtualMachine">vm-1</object><privilegeId>A.B</privilegeId>' +
    '<missingPrivileges><entity type="VirtualMachine">vm-1</entity><privilegeIds>A.B</privilegeIds><privilegeIds>C.D</privilegeIds>' +
    "</missingPrivileges></NoPermissionFault>";
  const error = translateFault(soapFault(detail), "Cannot look");
  t.equal(error.message, "Cannot look: the account lacks the privilege A.B, C.D on VirtualMachine vm-1");
  t.end();
});
