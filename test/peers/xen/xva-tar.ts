import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { extract } from "tar-stream";
import t from "tap";
import { ExtentMap } from "../../../src/fs/block/extent-map.js";
import { bytes, KIB, MIB } from "../../../src/units.js";
import { readXva } from "../../../src/xen/xva/read-xva.js";
import { virtualXva } from "../../../src/xen/xva/virtual-xva.js";
import { memorySource, patternBytes } from "../../fixtures/block/memory.js";
import { succeed } from "../../fixtures/host/command-line.js";
import { scratch } from "../../fixtures/scratch.js";
import { readAll, xvaInput } from "../../fixtures/xen/vm-records.js";

const { signal } = new AbortController();

void t.test("GNU tar lists and unpacks the archive, and what it packs again is read", async (t) => {
  const content = new Uint8Array(4 * MIB + 512);
  content.set(patternBytes(3000), 2 * MIB);
  const source = memorySource(content, { granularity: 64 * KIB });
  const holes = await ExtentMap.collect(source.size, source.extents!(bytes(0), source.size, { signal }));
  const input = xvaInput([{ source, holes }]);
  const id = input.disks[0]!.id;
  const folder = scratch(t);
  const path = join(folder, "vm.xva");
  await writeFile(path, await readAll(await virtualXva(input)));
  const listed = (await succeed("tar", ["--list", "--file", path])).trim().split("\n");
  const numbers = ["00000000", "00000002", "00000004"];
  t.strictSame(listed, ["ova.xml", ...numbers.flatMap((number) => [`${id}/${number}`, `${id}/${number}.checksum`])]);
  // Owner and mode of the members are those that XAPI writes: none.
  await succeed("tar", ["--extract", "--no-same-permissions", "--file", path, "--directory", folder]);
  t.equal(Buffer.compare(await readFile(join(folder, "ova.xml")), input.ovaXml), 0);
  const chunk = await readFile(join(folder, id, "00000002"));
  t.equal(Buffer.compare(chunk, content.subarray(2 * MIB, 3 * MIB)), 0);
  const [sum] = (await succeed("sha1sum", [join(folder, id, "00000002")])).split(" ");
  t.equal(await readFile(join(folder, id, "00000002.checksum"), "latin1"), sum);
  const again = join(folder, "again.xva");
  await succeed("tar", [
    "--create",
    "--format=gnu",
    "--file",
    again,
    "--directory",
    folder,
    "--no-recursion",
    ...listed,
  ]);
  const { disks } = await readXva(memorySource(await readFile(again)), signal);
  t.equal(Buffer.compare(await readAll(disks[0]!.source), content), 0);
  await disks[0]!.source.check(signal);
});

void t.test("tar-stream reads the same members", async (t) => {
  const content = patternBytes(2 * MIB + 1024);
  const input = xvaInput([{ source: memorySource(content) }], "xxhash");
  // Old-style headers, which its types do not know of.
  const options: object = { allowUnknownFormat: true };
  const archive = extract(options);
  archive.end(await readAll(await virtualXva(input)));
  const parts: Buffer[] = [];
  const names: string[] = [];
  for await (const entry of archive) {
    names.push(entry.header.name);
    const data: Buffer[] = [];
    for await (const piece of entry) data.push(piece as Buffer);
    if (/\/\d+$/.test(entry.header.name)) parts.push(...data);
  }
  t.strictSame(names.slice(-2), [`${input.disks[0]!.id}/00000002`, `${input.disks[0]!.id}/00000002.xxhash`]);
  t.equal(Buffer.compare(Buffer.concat(parts), content), 0);
});
