import t from "tap";
import { kernelFuseDriver } from "../../../src/fs/fuse/kernel-driver.js";
import { silentLogger } from "../../../src/log.js";
import { fuseDriverContract } from "../../fixtures/contract/fuse-driver.js";
import { fuseDriverEndingsContract } from "../../fixtures/contract/fuse-driver-endings.js";
import { fuseDriverHolesContract } from "../../fixtures/contract/fuse-driver-holes.js";

const create = () => kernelFuseDriver({ logger: silentLogger(), mounter: "fusermount" });
fuseDriverContract(t, "kernel driver through fusermount3", create);
fuseDriverEndingsContract(t, "kernel driver through fusermount3", create);
fuseDriverHolesContract(t, "kernel driver through fusermount3", create, { lacks: [] });
