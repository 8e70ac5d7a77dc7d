import { randomUUID } from "node:crypto";
import type { Database } from "./database/database.js";
import type { MachineConfig, PoolConfig } from "./pool-config.js";
import { Double, EPOCH, newRef, NULL_REF } from "./value.js";

/** Memory of a host and of its control domain. */
const HOST_MEMORY_BYTES = 64 * 1024 ** 3;
const CONTROL_DOMAIN_BYTES = 4 * 1024 ** 3;

/** Fills an empty database with what a pool's configuration describes. */
export function createFirstRows(database: Database, config: PoolConfig): void {
  const hosts = config.hosts.map((host) => createHost(database, host));
  const networks = config.networks.map((network, index) => {
    const { uuid, name, bridge, purpose } = network;
    const ref = database.create("network", { uuid, name_label: name, bridge, purpose });
    for (const [number, host] of hosts.entries()) createPif(database, { host, network: ref, device: index, number });
    return ref;
  });
  const storage = new Map(config.storage.map((sr) => [sr.name, createStorage(database, sr, hosts)]));
  for (const type of new Set(config.storage.map((sr) => sr.type))) createDriver(database, type);
  for (const machine of config.machines) createMachine(database, machine, { hosts, storage, network: networks[0] });
  const defaultSr = storage.get(config.defaultStorage ?? "") ?? NULL_REF;
  database.create("pool", {
    uuid: config.uuid,
    name_label: config.name,
    master: hosts[0] ?? NULL_REF,
    default_SR: defaultSr,
    suspend_image_SR: defaultSr,
    crash_dump_SR: defaultSr,
    other_config: { "memory-ratio-hvm": "0.25", "memory-ratio-pv": "0.25" },
    restrictions: { restrict_checkpoint: "false", restrict_cbt: "false" },
  });
}

function createHost(database: Database, { uuid, name }: PoolConfig["hosts"][number]): string {
  const metrics = database.create("host_metrics", {
    uuid: randomUUID(),
    memory_total: HOST_MEMORY_BYTES,
    memory_free: HOST_MEMORY_BYTES / 2,
    live: true,
  });
  const ref = newRef();
  const controlDomain = database.create("VM", {
    uuid: randomUUID(),
    name_label: `Control domain on host: ${name}`,
    is_control_domain: true,
    power_state: "Running",
    resident_on: ref,
    domid: 0,
    memory_static_max: CONTROL_DOMAIN_BYTES,
    memory_dynamic_max: CONTROL_DOMAIN_BYTES,
    memory_dynamic_min: CONTROL_DOMAIN_BYTES,
    domain_type: "pv",
  });
  return database.create(
    "host",
    {
      uuid,
      name_label: name,
      hostname: name,
      metrics,
      control_domain: controlDomain,
      edition: "xcp-ng",
      license_params: { expiry: "20991231T23:59:59Z", restrict_checkpoint: "false", restrict_cbt: "false" },
    },
    ref,
  );
}

interface PifPlace {
  readonly host: string;
  readonly network: string;
  readonly device: number;
  /** Of the host, for its MAC address. */
  readonly number: number;
}

function createPif(database: Database, { host, network, device, number }: PifPlace): void {
  database.create("PIF", {
    uuid: randomUUID(),
    device: `eth${device}`,
    network,
    host,
    MAC: `00:16:3e:00:${hex(number)}:${hex(device)}`,
    physical: true,
    currently_attached: true,
    management: device === 0,
    netmask: "255.0.0.0",
  });
}

function createStorage(database: Database, sr: PoolConfig["storage"][number], hosts: readonly string[]): string {
  const seenBy = sr.hosts ?? hosts.map((_, index) => index);
  const ref = database.create("SR", {
    uuid: sr.uuid,
    name_label: sr.name,
    type: sr.type,
    content_type: sr.type === "iso" ? "iso" : "user",
    shared: seenBy.length > 1,
    physical_size: sr.bytes,
  });
  for (const index of seenBy) {
    database.create("PBD", {
      uuid: randomUUID(),
      host: hosts[index] ?? NULL_REF,
      SR: ref,
      device_config: sr.type === "lvm" ? { device: "/dev/sdb" } : { serverpath: `/export/${sr.folder}` },
      currently_attached: true,
    });
  }
  return ref;
}

/** What the storage manager can do with disks of a type. */
function createDriver(database: Database, type: string): void {
  const features = ["VDI_ATTACH", "VDI_DETACH", ...(type === "iso" ? [] : DISK_FEATURES)];
  database.create("SM", {
    uuid: randomUUID(),
    name_label: type,
    type,
    features: Object.fromEntries(features.map((name) => [name, 1])),
    capabilities: features,
    driver_filename: `/opt/xensource/sm/${type.toUpperCase()}SR`,
  });
}

const DISK_FEATURES = ["VDI_CREATE", "VDI_DELETE", "VDI_CLONE", "VDI_SNAPSHOT", "VDI_RESIZE", "VDI_CONFIG_CBT"];

interface Places {
  readonly hosts: readonly string[];
  readonly storage: ReadonlyMap<string, string>;
  readonly network: string | undefined;
}

function createMachine(database: Database, machine: MachineConfig, { hosts, storage, network }: Places): void {
  const isRunning = machine.power === "Running";
  const memory = machine.memoryBytes;
  const vm = database.create("VM", {
    uuid: machine.uuid,
    name_label: machine.name,
    name_description: machine.description,
    power_state: machine.power,
    is_a_template: machine.template,
    resident_on: isRunning ? (hosts[machine.host] ?? NULL_REF) : NULL_REF,
    domid: isRunning ? 1 + database.refs("VM").length : -1,
    memory_static_max: memory,
    memory_dynamic_max: memory,
    memory_dynamic_min: memory,
    memory_static_min: memory / 2,
    VCPUs_max: machine.cpus,
    VCPUs_at_startup: machine.cpus,
    HVM_boot_policy: "BIOS order",
    HVM_boot_params: { order: "cdn", firmware: "bios" },
    HVM_shadow_multiplier: new Double(1),
    platform: { acpi: "1", apic: "true", pae: "true", nx: "true", viridian: "false", timeoffset: "0" },
    other_config: { mac_seed: randomUUID(), base_template_name: "Debian Bookworm 12" },
    bios_strings: { "bios-vendor": "Xen", "system-manufacturer": "Xen" },
    generation_id: `${randomUUID().slice(0, 16)}:${randomUUID().slice(0, 16)}`,
    metrics: createMetrics(database, machine, isRunning),
    guest_metrics: isRunning ? createGuestMetrics(database, machine) : NULL_REF,
    tags: ["lab"],
  });
  for (const [index, disk] of machine.disks.entries()) {
    const sr = storage.get(disk.storage) ?? NULL_REF;
    const vdi = database.create("VDI", {
      uuid: disk.uuid,
      name_label: disk.name,
      name_description: disk.description,
      SR: sr,
      location: disk.uuid,
      virtual_size: disk.bytes,
      sm_config: { "vhd-parent": "" },
    });
    createVbd(database, { vm, vdi, index, isRunning, isBootable: disk.bootable });
  }
  createVbd(database, { vm, vdi: NULL_REF, index: machine.disks.length, isRunning, isBootable: false });
  for (const [index, MAC] of machine.macs.entries()) {
    database.create("VIF", {
      uuid: randomUUID(),
      device: String(index),
      network: network ?? NULL_REF,
      VM: vm,
      MAC,
      currently_attached: isRunning,
    });
  }
}

interface FirstVbd {
  readonly vm: string;
  /** NULL for the empty CD drive. */
  readonly vdi: string;
  readonly index: number;
  readonly isRunning: boolean;
  readonly isBootable: boolean;
}

function createVbd(database: Database, { vm, vdi, index, isRunning, isBootable }: FirstVbd): void {
  const isCd = vdi === NULL_REF;
  database.create("VBD", {
    uuid: randomUUID(),
    VM: vm,
    VDI: vdi,
    userdevice: String(index),
    device: isRunning ? `xvd${String.fromCharCode(97 + index)}` : "",
    bootable: isBootable,
    mode: isCd ? "RO" : "RW",
    type: isCd ? "CD" : "Disk",
    empty: isCd,
    unpluggable: true,
    other_config: isCd ? {} : { owner: "" },
    currently_attached: isRunning,
  });
}

function createMetrics(database: Database, machine: MachineConfig, isRunning: boolean): string {
  return database.create("VM_metrics", {
    uuid: randomUUID(),
    memory_actual: isRunning ? machine.memoryBytes : 0,
    VCPUs_number: isRunning ? machine.cpus : 0,
    start_time: isRunning ? new Date() : EPOCH,
    hvm: true,
  });
}

/** What the tools inside a running guest report. */
export function createGuestMetrics(database: Database, guest: Pick<MachineConfig, "ip" | "quiesces">): string {
  const { ip, quiesces } = guest;
  return database.create("VM_guest_metrics", {
    uuid: randomUUID(),
    os_version: { name: "Debian GNU/Linux 12 (bookworm)", uname: "6.1.0-18-amd64", distro: "debian", major: "12" },
    PV_drivers_version: { major: "7", minor: "20", micro: "0", build: "1" },
    PV_drivers_up_to_date: true,
    PV_drivers_detected: true,
    networks: ip === undefined ? {} : { "0/ip": ip, "0/ipv4/0": ip },
    other: quiesces ? { "feature-quiesce": "1", "feature-snapshot": "1" } : {},
    last_updated: new Date(),
    live: true,
  });
}

function hex(number: number): string {
  return number.toString(16).padStart(2, "0");
}
