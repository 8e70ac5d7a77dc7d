import { MissingCapabilityError } from "../../errors.js";

/** The kernel sends INIT during mount(2): without it by now, nothing works. */
const INIT_MS = 10_000;

/**
 * Waits until the kernel has started the connection of the mount at `target`.
 * @throws MissingCapabilityError when it takes too long, or what `started` rejects with
 */
export async function startedInTime<T>(target: string, started: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new MissingCapabilityError(`Cannot mount at ${target}: the kernel did not start the FUSE connection`));
    }, INIT_MS);
  });
  try {
    return await Promise.race([started, late]);
  } finally {
    clearTimeout(timer);
  }
}
