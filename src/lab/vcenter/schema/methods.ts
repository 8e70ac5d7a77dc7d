import type { SchemaText } from "./grammar.js";

/**
 * Parameters of every method that the lab answers, in wire order after `_this` (vSphere Web Services API reference).
 * A method stands below the type that declares it.
 */
export const METHODS: Readonly<Record<string, SchemaText>> = {
  ServiceInstance: {
    RetrieveServiceContent: "",
    CurrentTime: "",
  },
  SessionManager: {
    Login: "userName:string password:string locale?:string",
    Logout: "",
    SessionIsActive: "sessionID:string userName:string",
    TerminateSession: "sessionId[]:string",
    AcquireCloneTicket: "",
    CloneSession: "cloneTicket:string",
  },
  PropertyCollector: {
    RetrieveProperties: "specSet[]:PropertyFilterSpec",
    RetrievePropertiesEx: "specSet[]:PropertyFilterSpec options:RetrieveOptions",
    ContinueRetrievePropertiesEx: "token:string",
    CancelRetrievePropertiesEx: "token:string",
    CreateFilter: "spec:PropertyFilterSpec partialUpdates:boolean",
    WaitForUpdatesEx: "version?:string options?:WaitOptions",
    WaitForUpdates: "version?:string",
    CheckForUpdates: "version?:string",
    CancelWaitForUpdates: "",
    CreatePropertyCollector: "",
    DestroyPropertyCollector: "",
  },
  PropertyFilter: {
    DestroyPropertyFilter: "",
  },
  ViewManager: {
    CreateContainerView: "container:ref type[]?:string recursive:boolean",
  },
  View: {
    DestroyView: "",
  },
  SearchIndex: {
    FindByInventoryPath: "inventoryPath:string",
    FindByUuid: "datacenter?:ref uuid:string vmSearch:boolean instanceUuid?:boolean",
    FindAllByUuid: "datacenter?:ref uuid:string vmSearch:boolean instanceUuid?:boolean",
    FindByIp: "datacenter?:ref ip:string vmSearch:boolean",
    FindAllByIp: "datacenter?:ref ip:string vmSearch:boolean",
    FindByDnsName: "datacenter?:ref dnsName:string vmSearch:boolean",
    FindAllByDnsName: "datacenter?:ref dnsName:string vmSearch:boolean",
    FindByDatastorePath: "datacenter:ref path:string",
    FindChild: "entity:ref name:string",
  },
  VirtualMachine: {
    CreateSnapshot_Task: "name:string description?:string memory:boolean quiesce:boolean",
    CreateSnapshotEx_Task: `
      name:string description?:string memory:boolean quiesceSpec?:VirtualMachineGuestQuiesceSpec
    `,
    RemoveAllSnapshots_Task: "consolidate?:boolean",
    ConsolidateVMDisks_Task: "",
    QueryChangedDiskAreas: "snapshot?:ref deviceKey:int startOffset:long changeId:string",
    ReconfigVM_Task: "spec:VirtualMachineConfigSpec",
    PowerOnVM_Task: "host?:ref",
    PowerOffVM_Task: "",
  },
  VirtualMachineSnapshot: {
    RemoveSnapshot_Task: "removeChildren:boolean consolidate?:boolean",
    RenameSnapshot: "name?:string description?:string",
  },
  Task: {
    CancelTask: "",
  },
  AuthorizationManager: {
    HasPrivilegeOnEntities: "entity[]:ref sessionId:string privId[]?:string",
  },
  EventManager: {
    QueryEvents: "filter:EventFilterSpec",
  },
};
