import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { basename, join } from "node:path";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { pipeline } from "node:stream/promises";
import t from "tap";
import { MIB } from "../../../src/units.js";
import { succeed } from "../../fixtures/host/command-line.js";
import { buildVddkStandIn, NATIVE_BUILD, VDDK_6, VDDK_8 } from "../../fixtures/host/vddk-stand-in.js";
import { LabClient } from "../../fixtures/lab-client.js";
import { testLab } from "../../fixtures/lab.js";
import { scratch } from "../../fixtures/scratch.js";

/** The system disk of web01. */
const DISK = 2000;
const READ_ONLY = 4;

await buildVddkStandIn();

async function hashFile(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

/** SHA-256 of what the library reads of a disk from end to end. */
async function hashByLibrary(libDir: string, root: string, path: string): Promise<string> {
  const program = join(NATIVE_BUILD, libDir === VDDK_8 ? "exercise" : "exercise-6.5");
  const child = spawn(program, [libDir, "dump", root, path, String(READ_ONLY)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(child, "exit");
  const hash = createHash("sha256");
  await pipeline(child.stdout, hash);
  const [code] = (await ended) as [number | null];
  if (code !== 0) throw new Error(`${program} ended with ${code}`);
  return hash.digest("hex");
}

await t.test("every link of a lab's chain reads as the lab and qemu-img read it", async (t) => {
  const { lab, directory } = await testLab(t);
  const web01 = lab.vm("web01");
  const client = await LabClient.loggedIn(lab);
  const expected: Record<string, string> = {};
  const links = ["web01.vmdk", "web01-000001.vmdk", "web01-000002.vmdk"];
  for (const [index, at] of [0, 5 * MIB + 512, 40 * MIB - 4096].entries()) {
    await web01.guest.write(DISK, at, Buffer.alloc(3 * 4096, index + 1));
    await web01.guest.write(DISK, 20 * MIB, Buffer.alloc(64 * 1024, index + 1));
    expected[links[index] ?? ""] = await web01.hashDisk(DISK, "now");
    await client.snapshot(web01.ref, `frozen-${index}`);
  }
  t.equal(new Set(Object.values(expected)).size, 3, "the links differ");
  const raw = join(scratch(t), "raw");
  for (const [name, hash] of Object.entries(expected)) {
    const path = `[ds1] ${basename(web01.folder)}/${name}`;
    t.equal(await hashByLibrary(VDDK_8, directory, path), hash, `${name} by the stand-in of 8.0`);
    t.equal(await hashByLibrary(VDDK_6, directory, path), hash, `${name} by the stand-in of 6.5`);
    await succeed("qemu-img", ["convert", "-f", "vmdk", "-O", "raw", join(web01.folder, name), raw]);
    t.equal(await hashFile(raw), hash, `${name} by qemu-img`);
  }
});
