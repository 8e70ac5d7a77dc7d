import { text } from "node:stream/consumers";
import { type Dispatcher, Pool } from "undici";
import { VSPHERE_LIMITS } from "../../../src/vsphere/limits.js";
import { KIB, MIB } from "../../../src/units.js";

/** Read from stdin: a session's cookie belongs in no argument. */
export interface RangeOrder {
  readonly url: string;
  readonly cookie: string;
  readonly ca: string;
  readonly bytes: number;
  /** No range is begun after this time. */
  readonly limitMs: number;
}

export interface RangeReport {
  readonly bytes: number;
  readonly seconds: number;
  /** User and system time of this process during the transfer. */
  readonly cpuSeconds: number;
  readonly peakRssBytes: number;
}

/** One ranged GET whose bytes are counted and thrown away. */
function fetchRange(pool: Pool, { url, cookie }: RangeOrder, from: number, length: number): Promise<void> {
  const { pathname, search } = new URL(url);
  const headers = { cookie, range: `bytes=${from}-${from + length - 1}` };
  return new Promise((resolve, reject) => {
    let status = 0;
    let got = 0;
    const handler: Dispatcher.DispatchHandler = {
      onRequestStart: () => undefined,
      onResponseStart: (_, code) => {
        status = code;
      },
      onResponseData: (_, chunk) => {
        got += chunk.length;
      },
      onResponseEnd: () => {
        if (status === 206 && got === length) resolve();
        else reject(new Error(`HTTP ${status} with ${got} of ${length} bytes at ${from}`));
      },
      onResponseError: (_, error) => {
        reject(error);
      },
    };
    pool.dispatch({ method: "GET", path: pathname + search, headers }, handler);
  });
}

async function readRanges(order: RangeOrder): Promise<RangeReport> {
  const connections = VSPHERE_LIMITS.dataConnectionsMax;
  const pool = new Pool(new URL(order.url).origin, { connections, pipelining: 1, connect: { ca: order.ca } });
  const cpuBefore = process.cpuUsage();
  const began = performance.now();
  let next = 0;
  let bytes = 0;
  const worker = async (): Promise<void> => {
    while (next < order.bytes && performance.now() - began < order.limitMs) {
      const from = next;
      const length = Math.min(MIB, order.bytes - from);
      next += length;
      await fetchRange(pool, order, from, length);
      bytes += length;
    }
  };
  await Promise.all(Array.from({ length: connections }, worker));
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(cpuBefore);
  await pool.destroy();
  return { bytes, seconds, cpuSeconds: (user + system) / 1e6, peakRssBytes: process.resourceUsage().maxRSS * KIB };
}

process.stdout.write(JSON.stringify(await readRanges(JSON.parse(await text(process.stdin)) as RangeOrder)));
