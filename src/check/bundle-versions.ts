import { execFile } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { arch, release, version } from "node:os";
import { promisify } from "node:util";
import { errorFacts } from "../errors.js";
import { findVddk } from "../vddk/find-library.js";
import { VERSION } from "../version.js";

const run = promisify(execFile);
const RUN_MS_MAX = 5_000;
const LIBRARY_FOLDERS = ["/lib", "/usr/lib", "/usr/lib64", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];

/** What runs here, by version; each that cannot be found says why. */
export async function versions(libdir: string): Promise<Record<string, unknown>> {
  const [fusermount, libfuse, vddk, distribution] = await Promise.all([
    run("fusermount3", ["--version"], { timeout: RUN_MS_MAX, env: { PATH: "/usr/bin:/bin", LC_ALL: "C" } }).then(
      ({ stdout }) => stdout.trim(),
      (error: unknown) => `not found: ${(error as NodeJS.ErrnoException).code ?? String(error)}`,
    ),
    libfuseFiles(),
    findVddk(libdir).then(
      (library) => `${library.version} in ${library.root}`,
      (error: unknown) => errorFacts(error).message,
    ),
    readFile("/etc/os-release", "utf8").then(
      (text) => /^PRETTY_NAME="?([^"\n]*)/m.exec(text)?.[1] ?? "unknown",
      () => "unknown",
    ),
  ]);
  const kernel = `${release()} ${version()}`;
  return {
    vmmount: VERSION,
    ...{ node: process.version, openssl: process.versions.openssl, arch: arch(), kernel, distribution },
    ...{ fusermount, libfuse, vddk },
  };
}

async function libfuseFiles(): Promise<string[]> {
  const names = await Promise.all(LIBRARY_FOLDERS.map((folder) => readdir(folder).catch(() => [])));
  return [...new Set(names.flat().filter((name) => /^libfuse3?\.so\.\d/.test(name)))].sort();
}
