import { GIB, KIB, MIB } from "../units.js";

/** `3.2 GiB free of 10 GiB (32 %)`; without a total: `3.2 GiB free`. */
export function roomText(freeBytes: number, totalBytes: number | undefined): string {
  if (totalBytes === undefined || totalBytes <= 0) return `${sizeText(freeBytes)} free`;
  return `${sizeText(freeBytes)} free of ${sizeText(totalBytes)} (${Math.floor((100 * freeBytes) / totalBytes)} %)`;
}

/** `512 MiB`, `3.2 GiB` */
export function sizeText(bytes: number): string {
  const [unit, name] =
    bytes >= 1024 * GIB
      ? [1024 * GIB, "TiB"]
      : bytes >= GIB
        ? [GIB, "GiB"]
        : bytes >= MIB
          ? [MIB, "MiB"]
          : [KIB, "KiB"];
  return `${Number((bytes / unit).toFixed(1))} ${name}`;
}
