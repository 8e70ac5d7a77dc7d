import { createCipheriv, createHash } from "node:crypto";
import { copyFile, lstat, mkdir, open, readdir, symlink, truncate, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { MIB } from "../../units.js";

/** Part of the budget that real files of this machine take; generated data fills the rest. */
const REAL_SHARE = 0.6;
/** Many small files cost time and teach nothing new. */
const REAL_FILES_MAX = 4000;
const REAL_FILE_BYTES_MAX = 8 * MIB;
/** Size of one generated file, and of the pieces it is written in. */
const GENERATED_BYTES = 16 * MIB;
const PIECE_BYTES = MIB;
/** Where real files come from: what every Linux system has, of many kinds. */
const SOURCES = ["/etc", "/usr/share/doc", "/usr/share/perl", "/usr/share/zoneinfo", "/usr/share"];

/**
 * Fills `target` with about `budget` bytes of files: copies from this machine, awkward names and kinds, and generated
 * data that is the same in every lab.
 */
export async function makeGuestTree(target: string, budget: number, seed: string): Promise<void> {
  await mkdir(target, { recursive: true });
  await makeAwkwardFiles(target);
  const copied = await copyRealFiles(target, budget * REAL_SHARE);
  await makeGeneratedFiles(join(target, "srv", "data"), budget - copied, seed);
}

async function makeAwkwardFiles(target: string): Promise<void> {
  const folder = join(target, "srv", "names");
  await mkdir(join(folder, "empty folder"), { recursive: true });
  await writeFile(join(folder, "empty"), "");
  await writeFile(join(folder, "Größe 50% \"x\" 'y'.txt"), "Umlauts, quotes and a percent sign\n");
  await writeFile(join(folder, `${"n".repeat(250)}.txt`), "A name of nearly 255 bytes\n");
  await writeFile(join(folder, "sparse"), "begin");
  await truncate(join(folder, "sparse"), 4 * MIB);
  await symlink("empty", join(folder, "link"));
}

/** Only what anybody may read: no keys, no password hashes. @returns bytes copied */
async function copyRealFiles(target: string, budget: number): Promise<number> {
  let bytes = 0;
  let files = 0;
  const seen = new Set<string>();
  for (const source of SOURCES) {
    for await (const { path, size } of publicFiles(source)) {
      if (files >= REAL_FILES_MAX || bytes + size > budget) break;
      if (seen.has(path)) continue;
      seen.add(path);
      const to = join(target, path);
      await mkdir(dirname(to), { recursive: true });
      await copyFile(path, to);
      bytes += size;
      files++;
    }
  }
  return bytes;
}

async function* publicFiles(folder: string): AsyncGenerator<{ readonly path: string; readonly size: number }> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* publicFiles(path);
    if (!entry.isFile()) continue;
    const stat = await lstat(path).catch(() => undefined);
    if (stat !== undefined && (stat.mode & 0o004) !== 0 && stat.size <= REAL_FILE_BYTES_MAX) {
      yield { path, size: stat.size };
    }
  }
}

async function makeGeneratedFiles(folder: string, bytes: number, seed: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (let done = 0, number = 1; done < bytes; done += GENERATED_BYTES, number++) {
    const name = `data-${String(number).padStart(3, "0")}.bin`;
    await makeGeneratedFile(join(folder, name), Math.min(GENERATED_BYTES, bytes - done), `${seed} ${name}`);
  }
}

/** A file of noise that depends on nothing but the seed. */
export async function makeGeneratedFile(path: string, size: number, seed: string): Promise<void> {
  const cipher = createCipheriv("aes-128-ctr", createHash("md5").update(seed).digest(), Buffer.alloc(16));
  await using file = await open(path, "wx", 0o600);
  for (let at = 0; at < size; at += PIECE_BYTES) {
    await file.write(cipher.update(Buffer.alloc(Math.min(PIECE_BYTES, size - at))));
  }
}
