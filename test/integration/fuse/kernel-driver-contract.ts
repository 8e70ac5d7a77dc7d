import t from "tap";
import { kernelFuseDriver } from "../../../src/fs/fuse/kernel-driver.js";
import { silentLogger } from "../../../src/log.js";
import { fuseDriverContract } from "../../fixtures/contract/fuse-driver.js";
import { fuseDriverEndingsContract } from "../../fixtures/contract/fuse-driver-endings.js";
import { fuseDriverHolesContract } from "../../fixtures/contract/fuse-driver-holes.js";

const create = () => kernelFuseDriver({ logger: silentLogger() });
fuseDriverContract(t, "kernel driver", create);
fuseDriverEndingsContract(t, "kernel driver", create);
fuseDriverHolesContract(t, "kernel driver", create, { lacks: [] });
