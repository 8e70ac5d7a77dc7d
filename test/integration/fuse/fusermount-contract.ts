import t from "tap";
import { kernelFuseDriver } from "../../../src/fs/fuse/kernel-driver.js";
import { silentLogger } from "../../../src/log.js";
import { fuseDriverContract } from "../../fixtures/contract/fuse-driver.js";

fuseDriverContract(t, "kernel driver through fusermount3", () =>
  kernelFuseDriver({ logger: silentLogger(), mounter: "fusermount" }),
);
