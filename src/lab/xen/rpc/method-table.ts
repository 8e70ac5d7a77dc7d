import { EVENT_CALLS } from "../calls/event-calls.js";
import { SESSION_CALLS } from "../calls/session-calls.js";
import { DEVICE_CALLS } from "../calls/device-calls.js";
import { DISK_CALLS } from "../calls/disk-calls.js";
import { POWER_CALLS } from "../calls/power-calls.js";
import { SITE_CALLS } from "../calls/site-calls.js";
import { VM_MAKING_CALLS } from "../calls/vm-making-calls.js";
import { VM_CALLS } from "../calls/vm-calls.js";
import { isSince, type ProfileName } from "../profile.js";
import { genericMethods } from "./generic-methods.js";
import type { Method } from "./method.js";

const CALLS: readonly (readonly Method[])[] = [
  SESSION_CALLS,
  EVENT_CALLS,
  VM_CALLS,
  VM_MAKING_CALLS,
  POWER_CALLS,
  DISK_CALLS,
  DEVICE_CALLS,
  SITE_CALLS,
];

/** Every method of a release by name; special ones take the place of generic ones. */
export function methodTable(profile: ProfileName): ReadonlyMap<string, Method> {
  const special = CALLS.flat().filter(({ since }) => isSince(profile, since));
  return new Map([...genericMethods(profile), ...special].map((one) => [one.name, one]));
}

/** Whether a release has removed a method that its elders had. */
export function isRemoved({ removed }: Method, profile: ProfileName): boolean {
  return removed !== undefined && isSince(profile, removed);
}
