import type { SchemaText } from "./grammar.js";

/** Properties of managed objects (vSphere Web Services API reference, managed object types). */
export const MANAGED_TYPES: SchemaText = {
  ServiceInstance: "serverClock:dateTime capability:Capability content:ServiceContent",
  ExtensibleManagedObject: "value[]?:CustomFieldValue availableField[]?:CustomFieldDef",
  ManagedEntity: `
    ExtensibleManagedObject | parent?:ref customValue[]?:CustomFieldValue overallStatus:ManagedEntityStatus
    configStatus:ManagedEntityStatus configIssue[]?:Event effectiveRole[]?:int permission[]?:Permission name:string
    disabledMethod[]?:string recentTask[]?:ref declaredAlarmState[]?:AlarmState triggeredAlarmState[]?:AlarmState
    alarmActionsEnabled?:boolean tag[]?:Tag
  `,
  Folder: "ManagedEntity | childType[]?:string childEntity[]?:ref",
  Datacenter: `
    ManagedEntity | vmFolder:ref hostFolder:ref datastoreFolder:ref networkFolder:ref datastore[]?:ref
    network[]?:ref configuration:DatacenterConfigInfo
  `,
  ComputeResource: `
    ManagedEntity | resourcePool?:ref host[]?:ref datastore[]?:ref network[]?:ref summary:ComputeResourceSummary
    environmentBrowser?:ref configurationEx:ComputeResourceConfigInfo
  `,
  HostSystem: `
    ManagedEntity | runtime:HostRuntimeInfo summary:HostListSummary hardware?:HostHardwareInfo
    capability?:HostCapability licensableResource:HostLicensableResourceInfo
    remediationState?:HostSystemRemediationState precheckRemediationResult?:ApplyHostProfileConfigurationSpec
    remediationResult?:ApplyHostProfileConfigurationResult complianceCheckState?:HostSystemComplianceCheckState
    complianceCheckResult?:ComplianceResult configManager:HostConfigManager config?:HostConfigInfo vm[]?:ref
    datastore[]?:ref network[]?:ref datastoreBrowser:ref systemResources?:HostSystemResourceInfo
    answerFileValidationState?:AnswerFileStatusResult answerFileValidationResult?:AnswerFileStatusResult
  `,
  ResourcePool: `
    ManagedEntity | summary:ResourcePoolSummary runtime:ResourcePoolRuntimeInfo owner:ref resourcePool[]?:ref
    vm[]?:ref config:ResourceConfigSpec childConfiguration[]?:ResourceConfigSpec
  `,
  Datastore: `
    ManagedEntity | info:DatastoreInfo summary:DatastoreSummary host[]?:DatastoreHostMount vm[]?:ref browser:ref
    capability:DatastoreCapability iormConfiguration?:StorageIORMInfo
  `,
  Network: "ManagedEntity | summary:NetworkSummary host[]?:ref vm[]?:ref",
  VirtualMachine: `
    ManagedEntity | capability:VirtualMachineCapability config?:VirtualMachineConfigInfo
    layout?:VirtualMachineFileLayout layoutEx?:VirtualMachineFileLayoutEx storage?:VirtualMachineStorageInfo
    environmentBrowser:ref resourcePool?:ref parentVApp?:ref resourceConfig?:ResourceConfigSpec
    runtime:VirtualMachineRuntimeInfo guest?:GuestInfo summary:VirtualMachineSummary datastore[]?:ref network[]?:ref
    snapshot?:VirtualMachineSnapshotInfo rootSnapshot[]?:ref guestHeartbeatStatus:ManagedEntityStatus
  `,
  VirtualMachineSnapshot: `
    ExtensibleManagedObject | config:VirtualMachineConfigInfo childSnapshot[]?:ref vm:ref
  `,
  Task: "ExtensibleManagedObject | info:TaskInfo",
  TaskManager: "recentTask[]?:ref description:TaskDescription maxCollector:int",
  SessionManager: `
    sessionList[]?:UserSession currentSession?:UserSession message?:string messageLocaleList[]?:string
    supportedLocaleList[]?:string defaultLocale:string
  `,
  PropertyCollector: "filter[]?:ref",
  PropertyFilter: "spec:PropertyFilterSpec partialUpdates:boolean",
  ViewManager: "viewList[]?:ref",
  View: "",
  ManagedObjectView: "View | view[]?:ref",
  ContainerView: "ManagedObjectView | container:ref type[]?:string recursive:boolean",
  SearchIndex: "",
  AuthorizationManager: "",
  EventManager: "latestEvent?:Event maxCollector:int",
};
