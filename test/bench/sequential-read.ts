import { MIB } from "../../src/units.js";
import { type Finished, runProgram } from "./programs.js";

export interface Reading {
  readonly bytes: number;
  readonly from?: number;
  readonly access: "buffered" | "direct";
  readonly limitMs: number;
  readonly signal: AbortSignal;
}

export interface Transfer {
  readonly bytes: number;
  readonly seconds: number;
}

/**
 * Reads a part of a file with dd, 1 MiB at a time, and throws it away.
 * @throws Error when a read fails, or fewer bytes come although there was time
 */
export async function readSequentially(path: string, reading: Reading): Promise<Transfer> {
  const { bytes, from = 0, access, limitMs, signal } = reading;
  const finished = await runProgram(
    "dd",
    [
      `if=${path}`,
      "of=/dev/null",
      "bs=1M",
      `count=${bytes / MIB}`,
      `skip=${from / MIB}`,
      ...(access === "direct" ? ["iflag=direct"] : []),
    ],
    { signal, limitMs },
  );
  const transfer = ddTransfer(finished);
  if (transfer === undefined || (finished.code !== 0 && finished.code !== null)) {
    throw new Error(`Cannot read ${path}: ${finished.stderr.trim()}`);
  }
  if (finished.code === 0 && transfer.bytes !== bytes) {
    throw new Error(`Cannot read ${path}: ${transfer.bytes} bytes came in place of ${bytes}`);
  }
  return transfer;
}

/** What dd prints last, also when it is interrupted. */
function ddTransfer({ stderr }: Finished): Transfer | undefined {
  const match = /(\d+) bytes.* copied, ([\d.e+-]+) s/.exec(stderr);
  return match === null ? undefined : { bytes: Number(match[1]), seconds: Number(match[2]) };
}

/** Several readers at once, each in its own part of the file. @returns all bytes, and the time until the last has ended */
export async function readInParallel(path: string, readers: number, reading: Reading): Promise<Transfer> {
  const part = Math.floor(reading.bytes / readers / MIB) * MIB;
  const began = performance.now();
  const parts = await Promise.all(
    Array.from({ length: readers }, (_, index) =>
      readSequentially(path, { ...reading, bytes: part, from: index * part }),
    ),
  );
  const seconds = (performance.now() - began) / 1000;
  return { bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0), seconds };
}
