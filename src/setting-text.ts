import { type SettingKey, type Settings, SETTINGS } from "./settings.js";
import { GIB, KIB, MIB } from "./units.js";

const SIZES = [
  ["GiB", GIB],
  ["MiB", MIB],
  ["KiB", KIB],
] as const;
const DURATIONS_MS = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
  ["s", 1000],
  ["ms", 1],
] as const;

/** A value as it would be written in the file; the default shows the unit. */
export function settingText<K extends SettingKey>(key: K, value: Settings[K]): string {
  if (Array.isArray(value)) return value.join(":");
  if (typeof value !== "number") return String(value);
  if (key === "mount.mode") return `0${value.toString(8)}`;
  const fallback = String(SETTINGS[key].fallback);
  if (/iB$/.test(fallback)) return inUnits(value, SIZES) ?? String(value);
  if (/^\d+(ms|[smhd])$/.test(fallback)) return inUnits(value, DURATIONS_MS) ?? `${value}ms`;
  return String(value);
}

/** In the largest unit of which it is a whole number. */
function inUnits(value: number, units: readonly (readonly [name: string, factor: number])[]): string | undefined {
  const unit = units.find(([, factor]) => value >= factor && value % factor === 0);
  return unit && `${value / unit[1]}${unit[0]}`;
}
