import { createHash } from "node:crypto";

/** A MAC address that depends on nothing but the seed of the VM and the number of the device, locally administered. */
export function generatedMac(seed: string, device: string): string {
  const hash = createHash("md5").update(`${seed}${device}`).digest();
  hash.writeUInt8((hash.readUInt8(0) & ~0x03) | 0x02, 0);
  return [...hash.subarray(0, 6)].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}
