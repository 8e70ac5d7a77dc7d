import { text } from "node:stream/consumers";
import { silentLogger } from "../../../src/log.js";
import { bytes, MIB } from "../../../src/units.js";
import { findVddk } from "../../../src/vddk/find-library.js";
import { VddkService } from "../../../src/vddk/vddk-service.js";
import { cpuSeconds, untilAtRest } from "../process-cost.js";

/** Read from stdin; the stand-in's rules are in the environment. */
export interface DrainOrder {
  /** To start as the VDDK host. */
  readonly program: string;
  readonly libdir: string;
  readonly runtimeDir: string;
  /** `[datastore] dir/file.vmdk` */
  readonly path: string;
  /** Size of the disk. */
  readonly expected: number;
}

export interface DrainReport {
  readonly bytes: number;
  readonly seconds: number;
  /** User and system time of host and client during the transfer. */
  readonly cpuSeconds: number;
}

/** Reads under way at a time: as many as the kernel's readahead has in a mount. */
const READS = 8;

async function drain(order: DrainOrder): Promise<DrainReport> {
  const signal = new AbortController().signal;
  await using service = await VddkService.start({
    library: await findVddk(order.libdir),
    configFile: undefined,
    login: { host: "vcenter.example", port: 443, user: "backup", password: "none", thumbprint: "AA:BB", vm: "vm-42" },
    runtimeDir: order.runtimeDir,
    program: order.program,
    logger: silentLogger(),
    stallMs: 60_000,
    allocation: "off",
  });
  const request = { name: "disk", path: order.path, mode: "nbdssl", snapshot: undefined };
  await using source = (await service.open(request, { signal, otherwise: "nothing" })).source;
  if (source.size !== order.expected) throw new Error(`The disk has ${source.size} bytes`);
  const host = service.pid;
  if (host === undefined) throw new Error("The VDDK host is gone");
  const pids = [host, process.pid];
  await untilAtRest([host]);
  const before = await cpuSeconds(pids);
  const began = performance.now();
  let next = 0;
  const worker = async (): Promise<void> => {
    const into = Buffer.allocUnsafeSlow(MIB);
    while (next < source.size) {
      const at = next;
      next += MIB;
      await source.read(into.subarray(0, Math.min(MIB, source.size - at)), bytes(at), { signal });
    }
  };
  await Promise.all(Array.from({ length: READS }, worker));
  const seconds = (performance.now() - began) / 1000;
  return { bytes: source.size, seconds, cpuSeconds: (await cpuSeconds(pids)) - before };
}

process.stdout.write(JSON.stringify(await drain(JSON.parse(await text(process.stdin)) as DrainOrder)));
