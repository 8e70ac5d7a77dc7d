import type { SchemaText } from "./grammar.js";

/**
 * Hosts, datastores and other objects around a virtual machine, fields in the order of the WSDL (vSphere Web Services API reference, data object types).
 */
export const SITE_TYPES: SchemaText = {
  DatastoreInfo: `
    name:string url:string freeSpace:long maxFileSize:long maxVirtualDiskCapacity?:long maxMemoryFileSize:long
    timestamp?:dateTime containerId?:string aliasOf?:string
  `,
  VmfsDatastoreInfo: `
    DatastoreInfo | maxPhysicalRDMFileSize:long maxVirtualRDMFileSize:long vmfs?:HostVmfsVolume
    lun[]?:VmfsDatastoreInfoScsiLunInfo
  `,
  HostFileSystemVolume: "type:string name:string capacity:long",
  HostVmfsVolume: `
    HostFileSystemVolume | blockSizeMb:int blockSize?:int unmapGranularity?:int unmapPriority?:string
    unmapBandwidthSpec?:VmfsUnmapBandwidthSpec maxBlocks:int majorVersion:int version:string uuid:string
    extent[]:HostScsiDiskPartition vmfsUpgradable:boolean forceMountedInfo?:HostForceMountedInfo ssd?:boolean
    local?:boolean scsiDiskType?:string
  `,
  HostScsiDiskPartition: "diskName:string partition:int",
  DatastoreSummary: `
    datastore?:ref name:string url:string capacity:long freeSpace:long uncommitted?:long accessible:boolean
    multipleHostAccess?:boolean type:string maintenanceMode?:string
  `,
  DatastoreCapability: `
    directoryHierarchySupported:boolean rawDiskMappingsSupported:boolean perFileThinProvisioningSupported:boolean
    storageIORMSupported:boolean nativeSnapshotSupported:boolean topLevelDirectoryCreateSupported?:boolean
    seSparseSupported?:boolean vmfsSparseSupported?:boolean vsanSparseSupported?:boolean upitSupported?:boolean
    vmdkExpandSupported?:boolean
  `,
  DatastoreHostMount: "key:ref mountInfo:HostMountInfo",
  HostMountInfo: `
    path?:string accessMode:string mounted?:boolean accessible?:boolean inaccessibleReason?:string
  `,
  HostListSummary: `
    host?:ref hardware?:HostHardwareSummary runtime?:HostRuntimeInfo config:HostConfigSummary
    quickStats:HostListSummaryQuickStats overallStatus:ManagedEntityStatus rebootRequired:boolean
    customValue[]?:CustomFieldValue managementServerIp?:string maxEVCModeKey?:string currentEVCModeKey?:string
    gateway?:HostListSummaryGatewaySummary tpmAttestation?:HostTpmAttestationInfo
  `,
  HostHardwareSummary: `
    vendor:string model:string uuid:string otherIdentifyingInfo[]?:HostSystemIdentificationInfo memorySize:long
    cpuModel:string cpuMhz:int numCpuPkgs:short numCpuCores:short numCpuThreads:short numNics:int numHBAs:int
  `,
  HostRuntimeInfo: `
    connectionState:HostSystemConnectionState powerState:HostSystemPowerState standbyMode?:string
    inMaintenanceMode:boolean inQuarantineMode?:boolean bootTime?:dateTime healthSystemRuntime?:HealthSystemRuntime
    dasHostState?:ClusterDasFdmHostState tpmPcrValues[]?:HostTpmDigestInfo cpuCapacityForVm?:long
    memoryCapacityForVm?:long vsanRuntimeInfo?:VsanHostRuntimeInfo
    networkRuntimeInfo?:HostRuntimeInfoNetworkRuntimeInfo
    vFlashResourceRuntimeInfo?:HostVFlashManagerVFlashResourceRunTimeInfo hostMaxVirtualDiskCapacity?:long
    cryptoState?:string cryptoKeyId?:CryptoKeyId
  `,
  HostConfigSummary: `
    name:string port:int sslThumbprint?:string product?:AboutInfo vmotionEnabled:boolean
    faultToleranceEnabled:boolean featureVersion[]?:HostFeatureVersionInfo agentVmDatastore?:ref agentVmNetwork?:ref
  `,
  HostListSummaryQuickStats: `
    overallCpuUsage?:int overallMemoryUsage?:int distributedCpuFairness?:int distributedMemoryFairness?:int
    availablePMemCapacity?:int uptime?:int
  `,
  ComputeResourceSummary: `
    totalCpu:int totalMemory:long numCpuCores:short numCpuThreads:short effectiveCpu:int effectiveMemory:long
    numHosts:int numEffectiveHosts:int overallStatus:ManagedEntityStatus
  `,
  ResourcePoolSummary: `
    name:string config:ResourceConfigSpec runtime:ResourcePoolRuntimeInfo quickStats?:ResourcePoolQuickStats
    configuredMemoryMB?:int
  `,
  ResourceConfigSpec: `
    entity?:ref changeVersion?:string lastModified?:dateTime cpuAllocation:ResourceAllocationInfo
    memoryAllocation:ResourceAllocationInfo networkBandwidthAllocation[]?:NetworkBandwidthAllocationInfo
  `,
  NetworkSummary: "network?:ref name:string accessible:boolean ipPoolName:string ipPoolId?:int",
};
