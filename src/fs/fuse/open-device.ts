import { close, open } from "node:fs";
import { promisify } from "node:util";
import { MissingCapabilityError } from "../../errors.js";

const openDescriptor = promisify(open);
const closeDescriptor = promisify(close);

export const FUSE_DEVICE = "/dev/fuse";

/** Errors that mean "this machine or container has no FUSE for us", and what to do about each. */
const HINTS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    ["ENOENT", "ENODEV", "ENXIO"].map((code) => [
      code,
      'Load the module with "modprobe fuse"; in a container, pass the device in (--device /dev/fuse)',
    ]),
  ),
  EACCES: 'Let users open the device, as udev does: "chmod 666 /dev/fuse" (as root)',
  EPERM: "Run as root; a container must be allowed to use the device (--device /dev/fuse)",
};

/** @throws MissingCapabilityError when FUSE is not there, or not for us */
export async function openFuseDevice(path: string = FUSE_DEVICE): Promise<number> {
  try {
    // Node opens with O_CLOEXEC: a child that inherited the device would keep a dead mount hanging.
    return await openDescriptor(path, "r+");
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code ?? "";
    const hint = HINTS[code];
    if (hint === undefined) throw cause;
    throw new MissingCapabilityError(`Cannot open ${path}: ${code}`, { cause, hint });
  }
}

/** Opening takes nothing: a descriptor becomes a connection only by mounting. @throws MissingCapabilityError */
export async function checkFuseDevice(path?: string): Promise<void> {
  await closeDescriptor(await openFuseDevice(path));
}
