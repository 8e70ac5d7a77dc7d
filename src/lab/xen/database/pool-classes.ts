/** Fields of the classes of a pool, its hosts and its storage; read by `parseFields`. */
export const POOL_CLASSES: Readonly<Record<string, string>> = {
  pool: `uuid name_label* name_description* master:ref default_SR*:ref suspend_image_SR*:ref crash_dump_SR*:ref
    other_config*:map ha_enabled:bool ha_configuration:map ha_statefiles:set ha_host_failures_to_tolerate:int
    ha_plan_exists_for:int ha_allow_overcommit*:bool ha_overcommitted:bool blobs:refmap tags*:set gui_config*:map
    health_check_config*:map wlb_url wlb_username wlb_enabled*:bool wlb_verify_cert*:bool redo_log_enabled:bool
    redo_log_vdi:ref vswitch_controller restrictions:map metadata_VDIs:refs ha_cluster_stack=xhad
    allowed_operations:set current_operations:map guest_agent_config:map cpu_info:map
    policy_no_vendor_device*:bool live_patching_disabled*:bool igmp_snooping_enabled:bool@8.2
    uefi_certificates@8.2 tls_verification_enabled:bool@8.3 is_psr_pending*:bool@8.3 migration_compression*:bool@8.3
    coordinator_bias*:bool@8.3`,
  host: `uuid name/label* name/description* memory/overhead:int allowed_operations:set current_operations:map
    API_version/major:int API_version/minor:int API_version/vendor=XenSource API_version/vendor_implementation:map
    enabled:bool=true software_version:map other_config*:map capabilities:set cpu_configuration:map sched_policy=credit
    supported_bootloaders:set resident_VMs<VM.resident_on logging*:map PIFs<PIF.host suspend_image_sr*:ref
    crash_dump_sr*:ref crashdumps:refs patches:refs updates:refs PBDs<PBD.host host_CPUs:refs cpu_info:map hostname*
    address* metrics:ref license_params:map ha_statefiles:set ha_network_peers:set blobs:refmap tags*:set
    external_auth_type external_auth_service_name external_auth_configuration:map edition license_server:map
    bios_strings:map power_on_mode power_on_config:map local_cache_sr:ref chipset_info:map PCIs:refs PGPUs:refs
    PUSBs:refs@8.2 ssl_legacy:bool guest_VCPUs_params*:map display*=enabled virtual_hardware_platform_versions:set
    control_domain:ref updates_requiring_reboot:refs features:refs iscsi_iqn*@8.2 multipathing*:bool@8.2
    certificates<Certificate.host@8.2 editions:set@8.2 pending_guidances:set@8.2 https_only:bool@8.3
    tls_verification_enabled:bool@8.3 last_software_update:date@8.3 latest_synced_updates_applied=unknown@8.3
    last_update_hash@8.3`,
  host_metrics: `uuid memory/total:int memory/free:int live:bool last_updated:date other_config*:map`,
  SR: `uuid name/label* name/description* allowed_operations:set current_operations:map VDIs<VDI.SR PBDs<PBD.SR
    virtual_allocation:int physical_utilisation:int physical_size:int type content_type shared*:bool other_config*:map
    tags*:set sm_config*:map blobs:refmap local_cache_enabled:bool introduced_by:ref clustered:bool is_tools_sr:bool`,
  SM: `uuid name/label name/description type vendor=XCP-ng copyright version=3.0 required_api_version=1.0 configuration:map
    features:map capabilities:set other_config*:map driver_filename required_cluster_stack:set`,
  PBD: `uuid host:ref SR:ref device_config:map currently_attached:bool other_config*:map`,
  network: `uuid name/label* name/description* allowed_operations:set current_operations:map VIFs<VIF.network
    PIFs<PIF.network MTU*:int=1500 other_config*:map bridge managed:bool=true blobs:refmap tags*:set
    default_locking_mode=unlocked assigned_ips:map purpose:set@8.2`,
  PIF: `uuid device network:ref host:ref MAC MTU:int=1500 VLAN:int=-1 metrics:ref physical:bool currently_attached:bool
    ip_configuration_mode=Static IP netmask gateway DNS bond_slave_of:ref bond_master_of:refs VLAN_master_of:ref
    VLAN_slave_of:refs management:bool other_config*:map disallow_unplug*:bool tunnel_access_PIF_of:refs
    tunnel_transport_PIF_of:refs ipv6_configuration_mode=None IPv6:set ipv6_gateway primary_address_type=IPv4
    managed:bool=true properties*:map capabilities:set igmp_snooping_status=unknown@8.2 PCI:ref@8.2`,
  Certificate: `uuid name@8.3 type=host@8.3 host:ref not_before:date not_after:date fingerprint fingerprint_sha256@8.3
    fingerprint_sha1@8.3`,
  task: `uuid name/label name/description allowed_operations:set current_operations:map created:date finished:date
    status=pending resident_on:ref progress:float type=<none/> result error_info:set other_config*:map subtask_of:ref
    subtasks<task.subtask_of backtrace=()`,
  session: `uuid this_host:ref this_user:ref last_active:date pool:bool other_config*:map is_local_superuser:bool
    subject:ref validation_time:date auth_user_sid auth_user_name rbac_permissions:set tasks:refs parent:ref originator
    client_certificate:bool@8.2`,
  message: `uuid name priority:int cls=VM obj_uuid timestamp:date body`,
  console: `uuid protocol=rfb location VM:ref other_config*:map`,
};
