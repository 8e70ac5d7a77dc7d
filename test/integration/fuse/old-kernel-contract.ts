import t from "tap";
import { kernelFuseDriver } from "../../../src/fs/fuse/kernel-driver.js";
import { silentLogger } from "../../../src/log.js";
import { fuseDriverContract } from "../../fixtures/contract/fuse-driver.js";
import { fuseDriverHolesContract } from "../../fixtures/contract/fuse-driver-holes.js";
import { MemoryFileSystem } from "../../fixtures/memory-file-system.js";
import { cannotMount, mountFor, text } from "../../fixtures/mounting.js";

// Linux 5.4, the oldest kernel that is supported, speaks protocol 7.31: this kernel is answered as if it did.

const name = "kernel driver, protocol 7.31";
const create = () => kernelFuseDriver({ logger: silentLogger(), minorMax: 31 });

void t.test(`${name}: that is what was agreed`, { skip: cannotMount() }, async (t) => {
  const tree = new MemoryFileSystem();
  const localFile = () => {
    throw new Error("nobody may ask: there is no passthrough");
  };
  tree.addFile("disk", { size: 1, localFile });
  const { mounted, path } = await mountFor(t, create(), tree);
  t.match(mounted.description, /^kernel FUSE 7\.31, reads up to 1 MiB, read-ahead \S+ \S+$/);
  t.equal((await text("cat", path("disk"))).length, 1);
  t.match(mounted.statistics, { passthroughFiles: 0, readBytes: 1 });
});

fuseDriverContract(t, name, create);
fuseDriverHolesContract(t, name, create, { lacks: [] });
