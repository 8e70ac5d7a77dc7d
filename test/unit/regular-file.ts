import { execFileSync } from "node:child_process";
import { closeSync, openSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { IntegrityError } from "../../src/errors.js";
import { openWithoutWaiting, readRegularFile } from "../../src/regular-file.js";
import { scratch } from "../fixtures/scratch.js";

void t.test("a small file is read whole; a large one, a FIFO, a device and a directory are refused", async (t) => {
  const directory = scratch(t);
  const [file, fifo] = [join(directory, "file"), join(directory, "fifo")];
  writeFileSync(file, "0123456789");
  execFileSync("mkfifo", [fifo]);
  t.equal((await readRegularFile(file, 10)).toString(), "0123456789");
  await t.rejects(readRegularFile(file, 9), new IntegrityError(`Cannot read "${file}": it has more than 9 bytes`));
  for (const path of [fifo, "/dev/zero", directory]) {
    await t.rejects(readRegularFile(path, 10), new IntegrityError(`Cannot read "${path}": it is not a file`));
  }
  await t.rejects(readRegularFile(join(directory, "none"), 10), { code: "ENOENT" });
  t.equal((await readRegularFile("/proc/self/comm", 100)).at(-1), 10, "one that does not say how long it is");
  await t.rejects(readRegularFile("/proc/self/status", 100), IntegrityError);
});

void t.test("a FIFO is opened at once, with a writer and without", async (t) => {
  const fifo = join(scratch(t), "fifo");
  execFileSync("mkfifo", [fifo]);
  const first = await openWithoutWaiting(fifo);
  const writer = openSync(fifo, "w");
  await first.close();
  await (await openWithoutWaiting(fifo)).close();
  closeSync(writer);
  t.pass("neither waited");
});
