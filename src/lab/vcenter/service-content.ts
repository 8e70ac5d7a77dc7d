import { data, moref, type Data } from "./values.js";

/** The version that the lab claims, and the ones before that it understands. */
export const API_VERSIONS = ["8.0.2.0", "8.0.1.0", "8.0.0.0", "7.0.3.0", "7.0", "6.7", "6.5", "6.0", "5.5"] as const;

const KINDS = {
  vcenter: { name: "VMware vCenter Server", productLineId: "vpx", apiType: "VirtualCenter" },
  esxi: { name: "VMware ESXi", productLineId: "embeddedEsx", apiType: "HostAgent" },
} as const;

export function aboutInfo(kind: keyof typeof KINDS, instanceUuid: string): Data {
  const { name, productLineId, apiType } = KINDS[kind];
  return data("AboutInfo", {
    name,
    fullName: `${name} 8.0.2 build-22617221`,
    vendor: "VMware, Inc.",
    version: "8.0.2",
    build: "22617221",
    localeVersion: "INTL",
    localeBuild: "000",
    osType: "linux-x64",
    productLineId,
    apiType,
    apiVersion: API_VERSIONS[0],
    instanceUuid,
    licenseProductName: "VMware VirtualCenter Server",
    licenseProductVersion: "8.0",
  });
}

/** Managers that the lab names, as a vCenter does, whether or not they answer. */
const MANAGERS = {
  setting: ["OptionManager", "VpxSettings"],
  authorizationManager: ["AuthorizationManager", "AuthorizationManager"],
  perfManager: ["PerformanceManager", "PerfMgr"],
  eventManager: ["EventManager", "EventManager"],
  taskManager: ["TaskManager", "TaskManager"],
  extensionManager: ["ExtensionManager", "ExtensionManager"],
  customFieldsManager: ["CustomFieldsManager", "CustomFieldsManager"],
  licenseManager: ["LicenseManager", "LicenseManager"],
  searchIndex: ["SearchIndex", "SearchIndex"],
  fileManager: ["FileManager", "FileManager"],
  virtualDiskManager: ["VirtualDiskManager", "virtualDiskManager"],
  ovfManager: ["OvfManager", "OvfManager"],
} as const;

export function serviceContent(about: Data): Data {
  const managers = Object.entries(MANAGERS).map(([field, [type, ref]]) => [field, moref(type, ref)] as const);
  return data("ServiceContent", {
    rootFolder: moref("Folder", "group-d1"),
    propertyCollector: moref("PropertyCollector", "propertyCollector"),
    viewManager: moref("ViewManager", "ViewManager"),
    about,
    sessionManager: moref("SessionManager", "SessionManager"),
    ...Object.fromEntries(managers),
  });
}
