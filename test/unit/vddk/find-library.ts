import { mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { findVddk, hasVddk } from "../../../src/vddk/find-library.js";
import { scratch } from "../../fixtures/scratch.js";
import { failureOf } from "../../fixtures/snapshot-session.js";

async function distribution(root: string, files: readonly string[]): Promise<void> {
  await mkdir(join(root, "lib64"), { recursive: true });
  for (const file of files) await writeFile(join(root, "lib64", file), "");
}

void t.test("the newest library of a folder is taken, with the version that its file's name tells", async (t) => {
  const root = scratch(t);
  await distribution(root, ["libvixDiskLib.so.7", "libvixDiskLib.so.8.0.3", "libdiskLibPlugin.so"]);
  await symlink("libvixDiskLib.so.8.0.3", join(root, "lib64", "libvixDiskLib.so.8"));
  t.match(await findVddk(root), {
    root,
    lib64: join(root, "lib64"),
    main: join(root, "lib64", "libvixDiskLib.so.8"),
    plugin: join(root, "lib64", "libdiskLibPlugin.so"),
    version: "8.0.3",
  });
  t.equal(await hasVddk(root), true);
});

void t.test("what is wrong with a folder is said, and where to get the library", async (t) => {
  const root = scratch(t);
  const [old, half, empty, none] = ["old", "half", "empty", "none"].map((name) => join(root, name)) as [
    string,
    string,
    string,
    string,
  ];
  await distribution(old, ["libvixDiskLib.so.5"]);
  await distribution(half, ["libvixDiskLib.so.8"]);
  await distribution(empty, []);
  await mkdir(none);
  const cases = [
    [join(root, "missing"), /there is no such folder/],
    [join(half, "lib64"), /it must be the folder above lib64/],
    [none, /it has no folder lib64/],
    [half, /libdiskLibPlugin\.so is missing/],
    [old, /it is VDDK 5, and 6\.5 is the oldest/],
    [empty, /no libvixDiskLib\.so\.6 or later/],
  ] as const;
  for (const [folder, message] of cases) {
    t.match(await failureOf(findVddk(folder)), {
      exitCode: 69,
      message,
      hint: /Download .* unpack it, and set vddk\.libdir/,
    });
    t.equal(await hasVddk(folder), false);
  }
});
