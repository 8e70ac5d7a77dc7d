import t from "tap";
import { fuseNativeDriver } from "../../../src/fs/fuse-native/native-driver.js";
import { silentLogger } from "../../../src/log.js";
import { fuseDriverContract } from "../../fixtures/contract/fuse-driver.js";
import { fuseDriverEndingsContract } from "../../fixtures/contract/fuse-driver-endings.js";
import { fuseDriverHolesContract } from "../../fixtures/contract/fuse-driver-holes.js";

const create = () => fuseNativeDriver({ logger: silentLogger() });
fuseDriverContract(t, "fuse-native", create);
fuseDriverEndingsContract(t, "fuse-native", create);
// libfuse 2 knows no lseek, asks for at most 32 pages, and interrupts nothing unless asked to by a signal of its own.
fuseDriverHolesContract(t, "fuse-native", create, {
  lacks: ["telling readers where holes are", "requests of 1 MiB", "freeing a reader killed in a page fault"],
});
