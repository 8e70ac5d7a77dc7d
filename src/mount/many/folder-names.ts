import type { VmIdentity } from "../../hypervisor.js";
import { safeFileName } from "../../safe-file-name.js";

/** Room for the end that tells two of a name apart, below the 255 bytes of a file name. */
const NAME_BYTES_MAX = 200;
const UUID_CHARS = 8;

/**
 * A folder for each VM: its name made safe. Where two are the same, also to a file system that does not tell capitals
 * apart, both get the first 8 digits of their instance UUID, so that the name does not depend on their order.
 */
export function folderNames(vms: readonly VmIdentity[]): string[] {
  const plain = vms.map(({ name }) => safeName(name));
  const told = toldApart(plain, vms, (vm) => idOf(vm).slice(0, UUID_CHARS));
  const whole = toldApart(told, vms, idOf);
  // One VM that two servers show, such as a host and its vCenter.
  return toldApart(whole, vms, (_vm, index) => String(index + 1));
}

function toldApart(
  names: readonly string[],
  vms: readonly VmIdentity[],
  end: (vm: VmIdentity, index: number) => string,
): string[] {
  const counts = new Map<string, number>();
  for (const name of names) counts.set(folded(name), (counts.get(folded(name)) ?? 0) + 1);
  return vms.map((vm, index) => {
    const name = names[index] ?? "";
    return (counts.get(folded(name)) ?? 0) < 2 ? name : `${name}-${end(vm, index)}`;
  });
}

function folded(name: string): string {
  return name.normalize("NFC").toLowerCase();
}

function idOf({ instanceUuid, ref }: VmIdentity): string {
  return safeName(instanceUuid ?? ref);
}

/** No separator, nothing that takes over a terminal, no hidden file, and no word that a program takes for an option. */
function safeName(name: string): string {
  // A half of a surrogate pair becomes U+FFFD on its way through bytes.
  const flat = Buffer.from(name)
    .toString("utf8")
    .replace(/[/\\\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffd]/g, "_")
    .replace(/^[.-]/, "_");
  const cut = Buffer.from(flat)
    .subarray(0, NAME_BYTES_MAX)
    .toString("utf8")
    .replace(/\ufffd+$/, "");
  return safeFileName(cut);
}
