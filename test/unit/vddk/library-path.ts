import { mkdir, readdir, readlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { makeLibraryPath } from "../../../src/vddk/library-path.js";
import { scratch } from "../../fixtures/scratch.js";

const MAPPED = `
00400000-00401000 r--p 00000000 fe:00 123 /usr/bin/node
7f0000000000-7f0000001000 r-xp 00000000 fe:00 124 /usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30
7f0000002000-7f0000003000 rw-p 00000000 00:00 0
7f0000004000-7f0000005000 r-xp 00000000 fe:00 125 /usr/lib/x86 64/libcrypto.so.3
7fff00000000-7fff00001000 r-xp 00000000 00:00 0 [vdso]`;

void t.test("links to all libraries but those that are loaded already, whatever their minor version", async (t) => {
  const lib64 = scratch(t);
  const names = ["libcrypto.so.3", "libcurl.so.4", "libstdc++.so.6", "libstdc++.so.6.0.28", "libdiskLibPlugin.so"];
  for (const name of [...names, "libstdc++.so.5", "README", "libcrypto.so.1.0.2"])
    await writeFile(join(lib64, name), name);
  await mkdir(join(lib64, "icu"));
  const folder = join(scratch(t), "lib");
  await makeLibraryPath(lib64, folder, MAPPED);
  t.strictSame((await readdir(folder)).sort(), [
    "libcrypto.so.1.0.2",
    "libcurl.so.4",
    "libdiskLibPlugin.so",
    "libstdc++.so.5",
  ]);
  t.equal(await readlink(join(folder, "libcurl.so.4")), join(lib64, "libcurl.so.4"));
});
