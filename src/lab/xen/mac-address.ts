import { createHash } from "node:crypto";
import { XapiFault } from "./fault.js";

/** The address of a card that was given none: the same for the same machine and device, locally administered. */
export function generatedMac(seed: string, device: string): string {
  const bytes = createHash("md5").update(`${seed} ${device}`).digest().subarray(0, 6);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
}

/** @throws XapiFault MAC_INVALID for what is no unicast address */
export function checkedMac(text: string): string {
  const isMac = /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text);
  if (!isMac || (Number.parseInt(text.slice(0, 2), 16) & 1) === 1) throw new XapiFault("MAC_INVALID", text);
  return text.toLowerCase();
}
