import type { Method } from "./rpc/method.js";
import { isAtLeast, type Role } from "./roles.js";

/** Permissions of HTTP handlers by the names of their actions, and the least role that has each. */
export const HTTP_PERMISSIONS = {
  "http/get_export": "vm-admin",
  "http/get_export_metadata": "vm-admin",
  "http/get_export_raw_vdi": "vm-admin",
  "http/put_import": "vm-admin",
  "http/put_import_metadata": "vm-admin",
  "http/put_import_raw_vdi": "vm-admin",
  "http/get_pool_xml_db_sync": "pool-admin",
  "http/put_pool_xml_db_sync": "pool-admin",
  "http/get_host_backup": "pool-admin",
} as const satisfies Readonly<Record<string, Role>>;

/** As a session lists them: calls in lower case, handlers by their action. */
export function permissionsOf(role: Role, table: ReadonlyMap<string, Method>): string[] {
  const calls = [...table.values()].filter((method) => isAtLeast(role, method.role));
  const handlers = Object.entries(HTTP_PERMISSIONS).filter(([, needed]) => isAtLeast(role, needed));
  return [...calls.map(({ name }) => name.toLowerCase()), ...handlers.map(([name]) => name)].sort();
}
