import { MissingCapabilityError } from "../errors.js";
import type { Right } from "../health.js";
import type { CallOptions } from "../hypervisor.js";
import { XapiFault } from "./xapi/fault.js";
import { list } from "./xapi/fields.js";
import type { Xapi } from "./xapi/xapi.js";

type Needed = Pick<Right, "name" | "need" | "purpose"> & { readonly role: string };

/** As sessions list them: calls in lower case, HTTP handlers by the name of their action. docs/XEN.md lists the roles. */
export const NEEDED_PERMISSIONS: readonly Needed[] = [
  { name: "vm.snapshot", need: "backup", purpose: "create the snapshot", role: "vm-power-admin" },
  { name: "vm.destroy", need: "backup", purpose: "remove the snapshot again", role: "vm-admin" },
  { name: "vdi.destroy", need: "backup", purpose: "remove the disks of the snapshot", role: "vm-admin" },
  { name: "vdi.add_to_other_config", need: "backup", purpose: "mark disks before their removal", role: "vm-admin" },
  { name: "vdi.get_nbd_info", need: "backup", purpose: "read disks over NBD", role: "vm-admin" },
  { name: "http/get_export_raw_vdi", need: "backup", purpose: "read disks over http", role: "vm-admin" },
  { name: "http/get_export_metadata", need: "backup", purpose: "read ova.xml", role: "vm-admin" },
  { name: "vm.checkpoint", need: "other", purpose: "mount --memory", role: "vm-power-admin" },
  { name: "vm.clean_shutdown", need: "other", purpose: "mount --offline", role: "vm-operator" },
  { name: "vm.start", need: "other", purpose: "mount --offline", role: "vm-operator" },
  { name: "http/put_import", need: "other", purpose: "restore", role: "vm-admin" },
  { name: "http/get_pool_xml_db_sync", need: "other", purpose: "read /meta-data", role: "pool-admin" },
  { name: "http/get_host_backup", need: "other", purpose: "read /host-backup", role: "pool-admin" },
];

/**
 * What the session may do, from what it lists of itself; the local superuser may do everything and lists nothing.
 * @throws MissingCapabilityError where the session lists nothing, XapiFault
 */
export async function rightsOfSession(xapi: Pick<Xapi, "call" | "session">, options: CallOptions): Promise<Right[]> {
  const session = await xapi.session(options);
  let isRoot: boolean;
  let permissions: ReadonlySet<string>;
  try {
    isRoot = (await xapi.call("session.get_is_local_superuser", [session], options)) === true;
    permissions = new Set(list({ all: await xapi.call("session.get_rbac_permissions", [session], options) }, "all"));
  } catch (error) {
    if (!(error instanceof XapiFault) || !error.is("MESSAGE_METHOD_UNKNOWN", "RBAC_PERMISSION_DENIED")) throw error;
    throw new MissingCapabilityError("The pool does not tell what this account may do", {
      cause: error,
      hint: "docs/XEN.md lists the roles",
    });
  }
  return NEEDED_PERMISSIONS.map(({ role, ...needed }) => ({
    ...needed,
    on: "pool",
    object: "the pool",
    isGranted: isRoot || permissions.has(needed.name),
    remedy: `Give the account the role ${role} or a higher one: xe subject-role-add`,
  }));
}
