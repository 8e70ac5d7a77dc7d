import { mkdirSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { BusyError, UsageError } from "../../../src/errors.js";
import { fuseNativeDriver } from "../../../src/fs/fuse-native/native-driver.js";
import { silentLogger } from "../../../src/log.js";
import { bytes, MIB } from "../../../src/units.js";
import { MemoryFileSystem } from "../../fixtures/memory-file-system.js";
import { cannotMount, mountFor, text } from "../../fixtures/mounting.js";

// What this driver does beyond the contracts: where it refuses to mount, and what it says of itself.

const skip = cannotMount();
const driver = fuseNativeDriver({ logger: silentLogger() });
const OPTIONS = { source: "vmmount-test", allowOther: false, uid: 0, gid: 0, replyBytesMax: bytes(MIB) };

void t.test("a mount says what this driver can", { skip }, async (t) => {
  const { mounted } = await mountFor(t, driver, new MemoryFileSystem());
  t.match(mounted.description, /^fuse-native \(libfuse 2\), reads up to 128 KiB, read-ahead 1 MiB, /);
});

void t.test("where it cannot mount it says why", { skip }, async (t) => {
  const where = t.testdir({});
  const tree = new MemoryFileSystem();
  await t.rejects(driver.mount(tree, where, { ...OPTIONS, uid: 7 }), UsageError);
  const deep = join(where, ...Array.from({ length: 6 }, () => "d".repeat(200)));
  mkdirSync(deep, { recursive: true });
  await t.rejects(driver.mount(tree, deep, OPTIONS), UsageError, "a path that the package would cut off");
  await text("mount", "-t", "tmpfs", "below", where);
  await t.rejects(driver.mount(tree, where, OPTIONS), BusyError);
  await text("umount", where);
});

void t.test("without the right to mount it says so before it tries", { skip }, async (t) => {
  const script = `import { checkFuseNative } from ${JSON.stringify(join(import.meta.dirname, "../../../dist/fs/fuse-native/native-driver.js"))};
await checkFuseNative().then(() => console.log("may"), (error) => console.log(error.exit, error.message));`;
  const node = [process.execPath, "--input-type=module", "-e", script];
  t.equal(await text(process.execPath, ...node.slice(1)), "may\n");
  t.match(
    await text("setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", ...node),
    /^unavailable .* needs root$/m,
  );
});

void t.test("path names that a shell would read are none to it", { skip }, async (t) => {
  const where = join(t.testdir({}), '$(touch pwned) "x" `id`');
  mkdirSync(where);
  const mounted = await driver.mount(new MemoryFileSystem(), where, OPTIONS);
  await mounted.unmount();
  t.equal(await mounted.closed, "unmounted");
});
