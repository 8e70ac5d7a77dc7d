import { isSince, type ProfileName } from "../profile.js";

const VM = `uuid user_version is_a_template resident_on affinity memory_static_max memory_dynamic_max memory_dynamic_min
  memory_static_min VCPUs_params VCPUs_max VCPUs_at_startup actions_after_shutdown actions_after_reboot actions_after_crash
  PV_bootloader PV_kernel PV_ramdisk PV_args PV_bootloader_args PV_legacy_args HVM_boot_policy HVM_boot_params platform
  PCI_bus other_config domid domarch is_control_domain metrics guest_metrics recommendations`;
const QOS = "qos_algorithm_type qos_algorithm_params qos_supported_algorithms";

/** Fields that the first data model had already: records without them are refused. */
const REQUIRED: Readonly<Record<string, string>> = {
  VM,
  VDI: `uuid SR virtual_size physical_utilisation type sharable read_only other_config storage_lock managed missing parent`,
  VBD: `uuid VM VDI userdevice bootable mode type storage_lock empty other_config status_code status_detail
    runtime_properties ${QOS}`,
  VIF: `uuid device network VM MAC MTU other_config status_code status_detail runtime_properties ${QOS}`,
  SR: "uuid virtual_allocation physical_utilisation physical_size type content_type shared other_config",
  network: "uuid other_config",
};

/** What hosts up to 8.2 want besides. */
const REQUIRED_BY_OLD = "power_state suspend_VDI last_boot_CPU_flags";

export function requiredFields(className: string, profile: ProfileName): readonly string[] {
  const fields = (REQUIRED[className] ?? "").split(/\s+/).filter((field) => field !== "");
  return className === "VM" && !isSince(profile, "8.3") ? [...fields, ...REQUIRED_BY_OLD.split(" ")] : fields;
}
