import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";

/** Which machine made a snapshot. */
export interface HostMark {
  /** For people. */
  readonly host: string;
  /** Tells machines of one name apart: 16 hex digits. */
  readonly hostId: string;
}

const HOST_ID_CHARS = 16;

/**
 * This machine. Both halves count: machines cloned from one disk have one machine-id (machine-id(5)), and two sites may
 * use one name. The machine-id itself is confidential, so that only a hash of it leaves the machine.
 */
export function thisHost(): HostMark {
  const host = hostname();
  const hostId = createHash("sha256").update(`vmmount ${machineId()} ${host}`).digest("hex").slice(0, HOST_ID_CHARS);
  return { host, hostId };
}

/** Empty in a container or a machine that has none: then the name alone must do. */
function machineId(): string {
  try {
    return readFileSync("/etc/machine-id", "utf8").trim();
  } catch {
    return "";
  }
}

/** One run of one machine's kernel, whatever the machine is called meanwhile; empty where the system does not tell. */
export function thisBoot(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return "";
  }
}

/**
 * Whether a session was begun on another machine: then its journal was copied, or is shared, and that nobody here holds
 * its lock says nothing of its process. The name tells machines apart, since a reboot changes the boot; the boot tells
 * that a machine, or a container on it, merely has another name. Journals of before boots were noted count as ours.
 */
export function isElsewhere({ host, boot }: { readonly host: string; readonly boot?: string | undefined }): boolean {
  return boot !== undefined && boot !== thisBoot() && firstLabel(host) !== firstLabel(hostname());
}

/** Whether a machine's name has its domain depends on the day: DHCP and a new image change it. */
function firstLabel(host: string): string {
  return (host.split(".")[0] ?? host).toLowerCase();
}

/** Whether a snapshot was made here. Marks of before there was a host id name the host alone. */
export function isOfHost(
  mark: { readonly host: string; readonly hostId?: string | undefined },
  here: HostMark,
): boolean {
  return mark.host === here.host && (mark.hostId ?? here.hostId) === here.hostId;
}
