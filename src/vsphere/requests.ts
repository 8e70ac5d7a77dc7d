import type { SnapshotSpec } from "../hypervisor.js";
import type { MoRef, SoapRequest, WireField, WireStruct } from "./soap-message.js";

/**
 * Every request that vmmount sends, one function per method, elements in the order of the vSphere Web Services API
 * reference (inherited fields first). test/unit/vsphere/requests.ts pins the literal XML: simulators take any order, so
 * they cannot find a misplaced element.
 */
export const SERVICE_INSTANCE: MoRef = { type: "ServiceInstance", id: "ServiceInstance" };

function read(method: string, self: MoRef, ...fields: readonly WireField[]): SoapRequest {
  return { method, self, fields, isReadOnly: true };
}

function write(method: string, self: MoRef, ...fields: readonly WireField[]): SoapRequest {
  return { method, self, fields };
}

export const retrieveServiceContent = (): SoapRequest => read("RetrieveServiceContent", SERVICE_INSTANCE);

export const currentTime = (): SoapRequest => read("CurrentTime", SERVICE_INSTANCE);

export function login(sessionManager: MoRef, user: string, password: string): SoapRequest {
  // The locale keeps the server's messages English whatever the account's default is.
  const fields: WireField[] = [
    ["userName", user],
    ["password", password],
    ["locale", "en_US"],
  ];
  return { method: "Login", self: sessionManager, fields, isSecret: true };
}

export const logout = (sessionManager: MoRef): SoapRequest => write("Logout", sessionManager);

export interface PropertyQuery {
  readonly type: string;
  readonly paths: readonly string[];
}

export interface ObjectSelection {
  readonly obj: MoRef;
  /** Follow this property of the object in place of reporting the object itself. */
  readonly traverse?: { readonly type: string; readonly path: string } | undefined;
}

function filterSpec(
  queries: readonly PropertyQuery[],
  objects: readonly ObjectSelection[],
  reportMissing: boolean,
): WireStruct {
  return {
    fields: [
      [
        "propSet",
        queries.map(({ type, paths }) => ({
          fields: [
            ["type", type],
            ["pathSet", paths],
          ] as WireField[],
        })),
      ],
      ["objectSet", objects.map(objectSpec)],
      ["reportMissingObjectsInResults", reportMissing ? true : undefined],
    ],
  };
}

function objectSpec({ obj, traverse }: ObjectSelection): WireStruct {
  if (traverse === undefined) return { fields: [["obj", obj]] };
  const traversal: WireStruct = {
    xsiType: "TraversalSpec",
    fields: [
      ["name", "t"],
      ["type", traverse.type],
      ["path", traverse.path],
      ["skip", false],
    ],
  };
  return {
    fields: [
      ["obj", obj],
      ["skip", true],
      ["selectSet", traversal],
    ],
  };
}

export function retrievePropertiesEx(
  collector: MoRef,
  queries: readonly PropertyQuery[],
  objects: readonly ObjectSelection[],
  reportMissing: boolean,
): SoapRequest {
  // The options element is compulsory, its content is not.
  const specSet = filterSpec(queries, objects, reportMissing);
  return read("RetrievePropertiesEx", collector, ["specSet", specSet], ["options", { fields: [] }]);
}

export const continueRetrievePropertiesEx = (collector: MoRef, token: string): SoapRequest =>
  read("ContinueRetrievePropertiesEx", collector, ["token", token]);

export const createPropertyCollector = (collector: MoRef): SoapRequest => write("CreatePropertyCollector", collector);

export const destroyPropertyCollector = (collector: MoRef): SoapRequest => write("DestroyPropertyCollector", collector);

export function createFilter(collector: MoRef, query: PropertyQuery, object: MoRef): SoapRequest {
  const spec = filterSpec([query], [{ obj: object }], false);
  return write("CreateFilter", collector, ["spec", spec], ["partialUpdates", false]);
}

export function waitForUpdatesEx(collector: MoRef, version: string, maxWaitSeconds: number): SoapRequest {
  const options: WireStruct = { fields: [["maxWaitSeconds", maxWaitSeconds]] };
  return read("WaitForUpdatesEx", collector, ["version", version], ["options", options]);
}

export const createContainerView = (viewManager: MoRef, container: MoRef, types: readonly string[]): SoapRequest =>
  write("CreateContainerView", viewManager, ["container", container], ["type", types], ["recursive", true]);

export const destroyView = (view: MoRef): SoapRequest => write("DestroyView", view);

export const findByInventoryPath = (searchIndex: MoRef, path: string): SoapRequest =>
  read("FindByInventoryPath", searchIndex, ["inventoryPath", path]);

export const findAllByUuid = (searchIndex: MoRef, uuid: string, isInstance: boolean): SoapRequest =>
  read("FindAllByUuid", searchIndex, ["uuid", uuid], ["vmSearch", true], ["instanceUuid", isInstance]);

export const findByUuid = (searchIndex: MoRef, uuid: string, isInstance: boolean): SoapRequest =>
  read("FindByUuid", searchIndex, ["uuid", uuid], ["vmSearch", true], ["instanceUuid", isInstance]);

export const cancelTask = (task: MoRef): SoapRequest => write("CancelTask", task);

export const createSnapshotTask = (vm: MoRef, spec: SnapshotSpec): SoapRequest =>
  write(
    "CreateSnapshot_Task",
    vm,
    ["name", spec.name],
    ["description", spec.description],
    ["memory", false],
    ["quiesce", spec.quiesce],
  );

/** vSphere 6.5 and later: quiescing with a time limit of its own. */
export function createSnapshotExTask(vm: MoRef, spec: SnapshotSpec, quiesceMinutes: number): SoapRequest {
  const quiesceSpec: WireStruct = { xsiType: "VirtualMachineGuestQuiesceSpec", fields: [["timeout", quiesceMinutes]] };
  return write(
    "CreateSnapshotEx_Task",
    vm,
    ["name", spec.name],
    ["description", spec.description],
    ["memory", false],
    ["quiesceSpec", spec.quiesce ? quiesceSpec : undefined],
  );
}

export const removeSnapshotTask = (snapshot: MoRef): SoapRequest =>
  write("RemoveSnapshot_Task", snapshot, ["removeChildren", false], ["consolidate", true]);

export const consolidateVmDisksTask = (vm: MoRef): SoapRequest => write("ConsolidateVMDisks_Task", vm);

/** Since vSphere API 5.5. */
export const hasPrivilegeOnEntities = (
  authorizationManager: MoRef,
  asked: { readonly entities: readonly MoRef[]; readonly session: string; readonly privileges: readonly string[] },
): SoapRequest =>
  read(
    "HasPrivilegeOnEntities",
    authorizationManager,
    ["entity", asked.entities],
    ["sessionId", asked.session],
    ["privId", asked.privileges],
  );

/** Events of one object; `maxCount` is known since 6.5. */
export function queryEvents(
  eventManager: MoRef,
  { vm, since, max }: { readonly vm: MoRef; readonly since: Date; readonly max: number },
): SoapRequest {
  const filter: WireStruct = {
    fields: [
      [
        "entity",
        {
          fields: [
            ["entity", vm],
            ["recursion", "self"],
          ],
        },
      ],
      ["time", { fields: [["beginTime", since.toISOString()]] }],
      ["maxCount", max],
    ],
  };
  return read("QueryEvents", eventManager, ["filter", filter]);
}

export interface AllocatedAreasQuery {
  readonly snapshot: MoRef;
  readonly deviceKey: number;
  readonly startOffset: number;
}

/** The change id `*` asks for every allocated area. */
export const queryAllocatedAreas = (vm: MoRef, query: AllocatedAreasQuery): SoapRequest =>
  read(
    "QueryChangedDiskAreas",
    vm,
    ["snapshot", query.snapshot],
    ["deviceKey", query.deviceKey],
    ["startOffset", query.startOffset],
    ["changeId", "*"],
  );
