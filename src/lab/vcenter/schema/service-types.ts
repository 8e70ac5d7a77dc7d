import type { SchemaText } from "./grammar.js";

/**
 * Service, session and property collector types, fields in the order of the WSDL (vSphere Web Services API reference, data object types).
 */
export const SERVICE_TYPES: SchemaText = {
  ServiceContent: `
    rootFolder:ref propertyCollector:ref viewManager?:ref about:AboutInfo setting?:ref userDirectory?:ref
    sessionManager?:ref authorizationManager?:ref serviceManager?:ref perfManager?:ref scheduledTaskManager?:ref
    alarmManager?:ref eventManager?:ref taskManager?:ref extensionManager?:ref customizationSpecManager?:ref
    customFieldsManager?:ref accountManager?:ref diagnosticManager?:ref licenseManager?:ref searchIndex?:ref
    fileManager?:ref datastoreNamespaceManager?:ref virtualDiskManager?:ref virtualizationManager?:ref
    snmpSystem?:ref vmProvisioningChecker?:ref vmCompatibilityChecker?:ref ovfManager?:ref ipPoolManager?:ref
    dvSwitchManager?:ref hostProfileManager?:ref clusterProfileManager?:ref complianceManager?:ref
    localizationManager?:ref storageResourceManager?:ref guestOperationsManager?:ref overheadMemoryManager?:ref
    certificateManager?:ref ioFilterManager?:ref vStorageObjectManager?:ref hostSpecManager?:ref cryptoManager?:ref
    healthUpdateManager?:ref failoverClusterConfigurator?:ref failoverClusterManager?:ref
  `,
  AboutInfo: `
    name:string fullName:string vendor:string version:string build:string localeVersion?:string localeBuild?:string
    osType:string productLineId:string apiType:string apiVersion:string instanceUuid?:string
    licenseProductName?:string licenseProductVersion?:string
  `,
  UserSession: `
    key:string userName:string fullName:string loginTime:dateTime lastActiveTime:dateTime locale:string
    messageLocale:string extensionSession:boolean ipAddress:string userAgent:string callCount:long
  `,
  EntityPrivilege: "entity:ref privAvailability[]:PrivilegeAvailability",
  PrivilegeAvailability: "privId:string isGranted:boolean",
  EventFilterSpec: `
    entity?:EventFilterSpecByEntity time?:EventFilterSpecByTime userName?:EventFilterSpecByUsername eventChainId?:int
    alarm?:ref scheduledTask?:ref disableFullMessage?:boolean category[]?:string type[]?:string tag[]?:string
    eventTypeId[]?:string maxCount?:int
  `,
  EventFilterSpecByEntity: "entity:ref recursion:string",
  EventFilterSpecByTime: "beginTime?:dateTime endTime?:dateTime",
  EventFilterSpecByUsername: "systemUser:boolean userList[]?:string",
  TaskEvent: "Event | info:TaskInfo",
  EventArgument: "",
  EntityEventArgument: "EventArgument | name:string",
  VmEventArgument: "EntityEventArgument | vm:ref",
  SelectionSpec: "name?:string",
  TraversalSpec: "SelectionSpec | type:string path:string skip?:boolean selectSet[]?:SelectionSpec",
  PropertySpec: "type:string all?:boolean pathSet[]?:string",
  ObjectSpec: "obj:ref skip?:boolean selectSet[]?:SelectionSpec",
  PropertyFilterSpec: `
    propSet[]:PropertySpec objectSet[]:ObjectSpec reportMissingObjectsInResults?:boolean
  `,
  RetrieveOptions: "maxObjects?:int",
  RetrieveResult: "token?:string objects[]:ObjectContent",
  ObjectContent: "obj:ref propSet[]?:DynamicProperty missingSet[]?:MissingProperty",
  DynamicProperty: "name:string val:anyType",
  MissingProperty: "path:string fault:LocalizedMethodFault",
  MissingObject: "obj:ref fault:LocalizedMethodFault",
  WaitOptions: "maxWaitSeconds?:int maxObjectUpdates?:int",
  UpdateSet: "version:string filterSet[]?:PropertyFilterUpdate truncated?:boolean",
  PropertyFilterUpdate: "filter:ref objectSet[]?:ObjectUpdate missingSet[]?:MissingObject",
  ObjectUpdate: `
    kind:ObjectUpdateKind obj:ref changeSet[]?:PropertyChange missingSet[]?:MissingProperty
  `,
  PropertyChange: "name:string op:PropertyChangeOp val?:anyType",
  LocalizedMethodFault: "fault:MethodFault localizedMessage?:string",
  LocalizableMessage: "key:string arg[]?:KeyAnyValue message?:string",
  KeyAnyValue: "key:string value:anyType",
  Tag: "key:string",
  CustomFieldValue: "key:int",
  CustomFieldDef: `
    key:int name:string type:string managedObjectType?:string fieldDefPrivileges?:PrivilegePolicyDef
    fieldInstancePrivileges?:PrivilegePolicyDef
  `,
  TaskInfo: `
    key:string task:ref description?:LocalizableMessage name?:string descriptionId:string entity?:ref
    entityName?:string locked[]?:ref state:TaskInfoState cancelled:boolean cancelable:boolean
    error?:LocalizedMethodFault result?:anyType progress?:int reason:TaskReason queueTime:dateTime
    startTime?:dateTime completeTime?:dateTime eventChainId:int changeTag?:string parentTaskKey?:string
    rootTaskKey?:string activationId?:string
  `,
  TaskDescription: `
    methodInfo[]:ElementDescription state[]:ElementDescription reason[]:TypeDescription
  `,
  TaskReason: "",
  TaskReasonUser: "TaskReason | userName:string",
  OptionValue: "key:string value?:anyType",
  Description: "label:string summary:string",
  Capability: `
    provisioningSupported:boolean multiHostSupported:boolean userShellAccessSupported:boolean
    supportedEVCMode[]?:EVCMode networkBackupAndRestoreSupported?:boolean ftDrsWithoutEvcSupported?:boolean
    hciWorkflowSupported?:boolean
  `,
  Event: `
    key:int chainId:int createdTime:dateTime userName:string datacenter?:DatacenterEventArgument
    computeResource?:ComputeResourceEventArgument host?:HostEventArgument vm?:VmEventArgument
    ds?:DatastoreEventArgument net?:NetworkEventArgument dvs?:DvsEventArgument fullFormattedMessage?:string
    changeTag?:string
  `,
  Permission: "entity?:ref principal:string group:boolean roleId:int propagate:boolean",
  AlarmState: `
    key:string entity:ref alarm:ref overallStatus:ManagedEntityStatus time:dateTime acknowledged?:boolean
    acknowledgedByUser?:string acknowledgedTime?:dateTime eventKey?:int
  `,
};
