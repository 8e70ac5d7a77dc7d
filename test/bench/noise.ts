import { createCipheriv, createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import { MIB } from "../../src/units.js";

export interface Stretch {
  readonly start: number;
  readonly length: number;
}

/** A sparse file of `size` bytes with incompressible data in some stretches; depends on nothing but the seed. */
export async function makeNoiseFile(path: string, size: number, stretches: readonly Stretch[], seed: string) {
  await using file = await open(path, "wx", 0o600);
  await file.truncate(size);
  const cipher = createCipheriv("aes-128-ctr", createHash("md5").update(seed).digest(), Buffer.alloc(16));
  const zeros = Buffer.alloc(MIB);
  for (const { start, length } of stretches) {
    for (let done = 0; done < length; done += MIB) {
      await writeAll(file, cipher.update(zeros.subarray(0, Math.min(MIB, length - done))), start + done);
    }
  }
  await file.sync();
}

async function writeAll(file: FileHandle, data: Buffer, at: number): Promise<void> {
  for (let done = 0; done < data.length;) {
    done += (await file.write(data, done, data.length - done, at + done)).bytesWritten;
  }
}

/** Data spread evenly over a disk, in stretches of 4 MiB that are aligned to 64 KiB as a file system's are. */
export function spreadStretches(size: number, dataBytes: number): Stretch[] {
  const length = 4 * MIB;
  const count = Math.round(dataBytes / length);
  const distance = Math.floor(size / count / 65536) * 65536;
  return Array.from({ length: count }, (_, index) => ({ start: index * distance, length }));
}
