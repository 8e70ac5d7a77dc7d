import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { CleanupStack } from "../../../src/cleanup.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import type { Contender, Started } from "../contender.js";
import type { LocalMachine } from "../site.js";
import { ownerOf, type Workbench } from "../workbench.js";

/** Where a mounted machine comes from. */
export interface MountedMachine {
  /** As `--server` takes it; absent for the configured lab. */
  readonly server?: string;
  readonly locator: string;
  readonly env?: Readonly<Record<string, string>>;
}

export const VMMOUNT = "vmmount";
export const VMMOUNT_COPYING = "vmmount, passthrough off";

/** The first disk of a mounted machine. */
export function vmmount(name: string, host: ProxyHost, machine: MountedMachine): Contender {
  return { name, start: (owner) => mountMachine(owner, host, machine) };
}

/** `vmmount mount`, and `vmmount umount` with the owner. @throws Error with the last line of its stderr */
export async function mountMachine(
  owner: CleanupStack,
  host: ProxyHost,
  machine: MountedMachine,
  mountPoint = host.mountPoint,
): Promise<Started & { readonly mountPoint: string }> {
  await mkdir(mountPoint, { recursive: true });
  const { locator, server, env = {} } = machine;
  const before = await host.daemons();
  const where = server === undefined ? [] : ["--server", server];
  const mounted = await host.vmmount(["mount", ...where, locator, mountPoint], { env });
  if (mounted.code !== 0) throw new Error(mounted.stderr.trim().split("\n").at(-1));
  owner.add(`unmount ${mountPoint}`, () => unmount(host, mountPoint));
  const pids = (await host.daemons()).filter((pid) => !before.includes(pid));
  return { path: join(mountPoint, "scsi0-0-flat.vmdk"), pids, mountPoint };
}

async function unmount(host: ProxyHost, mountPoint: string): Promise<void> {
  const { code, stderr } = await host.vmmount(["umount", mountPoint]);
  if (code !== 0) throw new Error(stderr.trim().split("\n").at(-1));
}

/** A host for mounts without a configured server. */
export function localHost(bench: Workbench, owner: CleanupStack): Promise<ProxyHost> {
  // The server of the fixture's configuration is never reached: its name must only be well-formed.
  return ProxyHost.make(ownerOf(owner), { url: "https://unused.invalid", user: "none", passwordPath: "/dev/null" });
}

/** The full machine in a local folder, with and without the kernel reading for the daemon. */
export function localVmmounts(host: ProxyHost, { directory, name }: LocalMachine): Contender[] {
  const machine = { server: `dir://${directory}`, locator: `/${name}` };
  return [
    vmmount(VMMOUNT, host, machine),
    vmmount(VMMOUNT_COPYING, host, { ...machine, env: { VMMOUNT_PASSTHROUGH: "off" } }),
  ];
}
