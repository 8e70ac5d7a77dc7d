import type { FuseDriver } from "../fs/fuse-driver.js";
import { checkFuseNative, fuseNativeDriver } from "../fs/fuse-native/native-driver.js";
import { kernelFuseDriver } from "../fs/fuse/kernel-driver.js";
import { mountCalls } from "../fs/fuse/mount-rights.js";
import type { Logger } from "../log.js";
import type { Settings } from "../settings.js";

type Choice = Pick<Settings, "mount.fuse_driver" | "mount.passthrough">;

/** The driver that `mount.fuse_driver` names. */
export function chooseFuseDriver(settings: Choice, { logger }: { readonly logger: Logger }): FuseDriver {
  switch (settings["mount.fuse_driver"]) {
    case "kernel":
      return kernelFuseDriver({ logger, passthrough: settings["mount.passthrough"] });
    case "fuse-native":
      return fuseNativeDriver({ logger });
  }
}

/**
 * What the chosen driver needs of this machine; asked before a snapshot is made for nothing.
 * @throws MissingCapabilityError
 */
export async function checkFuseDriver(
  settings: Pick<Settings, "mount.fuse_driver" | "mount.allow_other">,
  mountPoint: string,
): Promise<void> {
  if (settings["mount.fuse_driver"] === "fuse-native") await checkFuseNative();
  else await (await mountCalls()).check(mountPoint, { allowOther: settings["mount.allow_other"] });
}
