import { mustRun } from "./programs.js";

export interface RandomReading {
  readonly depth: number;
  readonly access: "buffered" | "direct";
  readonly seconds: number;
  readonly signal: AbortSignal;
}

interface FioReport {
  readonly jobs: readonly { readonly read: { readonly iops: number; readonly total_ios: number } }[];
}

/** Reads 4 KiB at random with fio. @returns reads per second */
export async function readRandomly(path: string, { depth, access, seconds, signal }: RandomReading): Promise<number> {
  const { stdout } = await mustRun(
    "fio",
    [
      "--name=random",
      `--filename=${path}`,
      "--readonly",
      "--allow_file_create=0",
      "--rw=randread",
      "--bs=4k",
      "--randseed=7",
      "--invalidate=0",
      "--time_based",
      `--runtime=${seconds}`,
      ...(access === "direct" ? ["--direct=1", "--ioengine=libaio", `--iodepth=${depth}`] : ["--ioengine=psync"]),
      "--output-format=json",
    ],
    { signal },
  );
  // fio may print a note before its report.
  const report = JSON.parse(stdout.slice(stdout.indexOf("{"))) as FioReport;
  const read = report.jobs[0]?.read;
  if (read === undefined || read.total_ios === 0) throw new Error(`Cannot read ${path}: fio has read nothing`);
  return read.iops;
}
