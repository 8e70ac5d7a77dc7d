import type { SchemaText } from "./grammar.js";

/**
 * Virtual devices and their backings, fields in the order of the WSDL (vSphere Web Services API reference, data object types).
 */
export const DEVICE_TYPES: SchemaText = {
  VirtualDevice: `
    key:int deviceInfo?:Description backing?:VirtualDeviceBackingInfo connectable?:VirtualDeviceConnectInfo
    slotInfo?:VirtualDeviceBusSlotInfo controllerKey?:int unitNumber?:int
  `,
  VirtualDeviceConnectInfo: `
    migrateConnect?:string startConnected:boolean allowGuestControl:boolean connected:boolean status?:string
  `,
  VirtualDeviceBusSlotInfo: "",
  VirtualDevicePciBusSlotInfo: "VirtualDeviceBusSlotInfo | pciSlotNumber:int",
  VirtualDeviceBackingInfo: "",
  VirtualDeviceFileBackingInfo: `
    VirtualDeviceBackingInfo | fileName:string datastore?:ref backingObjectId?:string
  `,
  VirtualDeviceDeviceBackingInfo: `
    VirtualDeviceBackingInfo | deviceName:string useAutoDetect?:boolean
  `,
  VirtualDeviceRemoteDeviceBackingInfo: `
    VirtualDeviceBackingInfo | deviceName:string useAutoDetect?:boolean
  `,
  VirtualController: "VirtualDevice | busNumber:int device[]?:int",
  VirtualIDEController: "VirtualController |",
  VirtualSCSIController: `
    VirtualController | hotAddRemove?:boolean sharedBus:VirtualSCSISharing scsiCtlrUnitNumber?:int
  `,
  VirtualLsiLogicController: "VirtualSCSIController |",
  VirtualLsiLogicSASController: "VirtualSCSIController |",
  VirtualBusLogicController: "VirtualSCSIController |",
  ParaVirtualSCSIController: "VirtualSCSIController |",
  VirtualSATAController: "VirtualController |",
  VirtualAHCIController: "VirtualSATAController |",
  VirtualNVMEController: "VirtualController |",
  VirtualPCIController: "VirtualController |",
  VirtualPS2Controller: "VirtualController |",
  VirtualSIOController: "VirtualController |",
  VirtualKeyboard: "VirtualDevice |",
  VirtualPointingDevice: "VirtualDevice |",
  VirtualMachineVideoCard: `
    VirtualDevice | videoRamSizeInKB?:long numDisplays?:int useAutoDetect?:boolean enable3DSupport?:boolean
    use3dRenderer?:string graphicsMemorySizeInKB?:long
  `,
  VirtualMachineVMCIDevice: `
    VirtualDevice | id?:long allowUnrestrictedCommunication?:boolean filterEnable?:boolean
    filterInfo?:VirtualMachineVMCIDeviceFilterInfo
  `,
  VirtualDisk: `
    VirtualDevice | capacityInKB:long capacityInBytes?:long shares?:SharesInfo
    storageIOAllocation?:StorageIOAllocationInfo diskObjectId?:string
    vFlashCacheConfigInfo?:VirtualDiskVFlashCacheConfigInfo iofilter[]?:string vDiskId?:string
    nativeUnmanagedLinkedClone?:boolean
  `,
  VirtualDiskFlatVer2BackingInfo: `
    VirtualDeviceFileBackingInfo | diskMode:string split?:boolean writeThrough?:boolean thinProvisioned?:boolean
    eagerlyScrub?:boolean uuid?:string contentId?:string changeId?:string parent?:VirtualDiskFlatVer2BackingInfo
    deltaDiskFormat?:string digestEnabled?:boolean deltaGrainSize?:int deltaDiskFormatVariant?:string
    sharing?:string keyId?:CryptoKeyId
  `,
  VirtualDiskSparseVer2BackingInfo: `
    VirtualDeviceFileBackingInfo | diskMode:string split?:boolean writeThrough?:boolean spaceUsedInKB?:long
    uuid?:string contentId?:string changeId?:string parent?:VirtualDiskSparseVer2BackingInfo keyId?:CryptoKeyId
  `,
  VirtualDiskSeSparseBackingInfo: `
    VirtualDeviceFileBackingInfo | diskMode:string writeThrough?:boolean uuid?:string contentId?:string
    changeId?:string parent?:VirtualDiskSeSparseBackingInfo deltaDiskFormat?:string digestEnabled?:boolean
    grainSize?:int keyId?:CryptoKeyId
  `,
  VirtualDiskRawDiskMappingVer1BackingInfo: `
    VirtualDeviceFileBackingInfo | lunUuid?:string deviceName?:string compatibilityMode?:string diskMode?:string
    uuid?:string contentId?:string changeId?:string parent?:VirtualDiskRawDiskMappingVer1BackingInfo
    deltaDiskFormat?:string deltaGrainSize?:int sharing?:string
  `,
  VirtualCdrom: "VirtualDevice |",
  VirtualCdromRemotePassthroughBackingInfo: `
    VirtualDeviceRemoteDeviceBackingInfo | exclusive:boolean
  `,
  VirtualEthernetCard: `
    VirtualDevice | addressType?:string macAddress?:string wakeOnLanEnabled?:boolean
    resourceAllocation?:VirtualEthernetCardResourceAllocation externalId?:string uptCompatibilityEnabled?:boolean
  `,
  VirtualE1000: "VirtualEthernetCard |",
  VirtualE1000e: "VirtualEthernetCard |",
  VirtualVmxnet: "VirtualEthernetCard |",
  VirtualVmxnet3: "VirtualVmxnet |",
  VirtualEthernetCardNetworkBackingInfo: `
    VirtualDeviceDeviceBackingInfo | network?:ref inPassthroughMode?:boolean
  `,
  VirtualDiskSpec: "diskType:string adapterType:string",
  DeviceBackedVirtualDiskSpec: "VirtualDiskSpec | device:string",
  StorageIOAllocationInfo: "limit?:long shares?:SharesInfo reservation?:int",
};
