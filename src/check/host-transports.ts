import { errorFacts, VmmountError } from "../errors.js";
import type { Settings } from "../settings.js";
import { type Transport, TRANSPORTS_OF } from "../transports.js";
import { findVddk } from "../vddk/find-library.js";
import { failed, type Finding, ok, skip, warn } from "./finding.js";

type Choice = Pick<Settings, "mount.transport" | "vddk.libdir">;

const OF_LIBRARY: readonly Transport[] = TRANSPORTS_OF.vsphere.filter((name) => name !== "https");

/** What can be used of a list on this host. */
export interface UsableTransports {
  readonly vsphere: readonly Transport[];
  readonly xen: readonly Transport[];
}

/** The transports that a mount would try, without those that need a library which is not here. */
export async function usableTransports(settings: Choice): Promise<UsableTransports> {
  const wanted = settings["mount.transport"];
  const hasLibrary = await findVddk(settings["vddk.libdir"]).then(
    () => true,
    (error: unknown) => {
      if (error instanceof VmmountError) return false;
      throw error;
    },
  );
  const vsphere =
    wanted === "auto" ? TRANSPORTS_OF.vsphere : TRANSPORTS_OF.vsphere.filter((one) => wanted.includes(one));
  const xen = wanted === "auto" ? TRANSPORTS_OF.xen : TRANSPORTS_OF.xen.filter((one) => wanted.includes(one));
  return { vsphere: vsphere.filter((one) => hasLibrary || !OF_LIBRARY.includes(one)), xen };
}

export async function checkTransports(settings: Choice): Promise<Finding> {
  const usable = await usableTransports(settings);
  const list = (names: readonly Transport[]): string => (names.length === 0 ? "none" : names.join(":"));
  return ok(
    "host.transports",
    `Disks can be read from this host over: vSphere ${list(usable.vsphere)}, Xen ${list(usable.xen)}`,
  );
}

/** VMware's library: needed for what `mount.transport` names, welcome for "auto". */
export async function checkVddk(settings: Choice): Promise<Finding> {
  const id = "host.vddk";
  const wanted = settings["mount.transport"];
  const named = wanted === "auto" ? [] : wanted.filter((one) => OF_LIBRARY.includes(one));
  // "nbd" alone is what Xen pools speak as well.
  const isNamed =
    named.some((one) => one !== "nbd") || (wanted !== "auto" && wanted.includes("https") && named.length > 0);
  if (wanted !== "auto" && named.length === 0) {
    return skip(id, `VDDK is not needed: mount.transport names only ${wanted.join(":")}`);
  }
  try {
    const { root, version } = await findVddk(settings["vddk.libdir"]);
    return ok(id, `VDDK ${version} is in ${root}`);
  } catch (error) {
    if (!(error instanceof VmmountError)) throw error;
    const facts = errorFacts(error);
    // A folder that was named is meant to be there.
    if (settings["vddk.libdir"] !== "") return failed(id, facts);
    if (!isNamed) return skip(id, `VDDK is not here: vSphere disks are read over https alone`, facts.hint);
    if (wanted.includes("https")) return warn(id, `${facts.message}: https alone is left`, facts.hint);
    return failed(id, facts);
  }
}
