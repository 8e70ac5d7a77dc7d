import { tmpdir } from "node:os";
import { checkFuseDevice, FUSE_DEVICE } from "../fs/fuse/open-device.js";
import { mountCalls } from "../fs/fuse/mount-rights.js";
import { checkFuseNative } from "../fs/fuse-native/native-driver.js";
import type { Settings } from "../settings.js";
import { type Finding, ok, skip } from "./finding.js";

/** @throws MissingCapabilityError */
export async function checkDevice(): Promise<Finding> {
  await checkFuseDevice();
  return ok("host.fuse", `${FUSE_DEVICE} can be opened`);
}

/** Who mounts: this process, or fusermount3 for it. @throws MissingCapabilityError, RefusedError */
export async function checkFusermount(settings: Pick<Settings, "mount.allow_other">): Promise<Finding> {
  const calls = await mountCalls();
  if (calls.isPrivileged) return skip("host.fusermount", "fusermount3 is not needed: this user may mount by itself");
  const allowOther = settings["mount.allow_other"];
  // Any directory of this user's: what is asked is about the program and its configuration.
  await calls.check(tmpdir(), { allowOther });
  return ok("host.fusermount", `fusermount3 mounts for this user${allowOther ? ", and others may be let in" : ""}`);
}

/** @throws MissingCapabilityError */
export async function checkDriver(settings: Pick<Settings, "mount.fuse_driver">): Promise<Finding> {
  const driver = settings["mount.fuse_driver"];
  if (driver === "fuse-native") await checkFuseNative();
  return ok("host.fuse-driver", `The FUSE driver "${driver}" can be used`);
}
