import { NotFoundError } from "../errors.js";
import type { ConfigFile } from "../hypervisor.js";
import { safeFileName } from "../safe-file-name.js";
import { MIB } from "../units.js";
import type { DatastoreClient, DatastoreFile } from "./datastore-client.js";
import { parseDatastorePath, sibling } from "./datastore-path.js";

/** A .vmx has some KiB; ESXi itself stops far below. */
const VMX_BYTES_MAX = MIB;
/** UEFI variable stores have 64 to 528 KiB. */
const NVRAM_BYTES_MAX = 4 * MIB;

/**
 * The .vmx and, where there is one, the .nvram beside it.
 * @throws NotFoundError without a .vmx, IntegrityError for files that are far too large
 */
export async function readConfigFiles(
  config: { readonly path: string; readonly datacenterPath: string | undefined },
  client: DatastoreClient,
  signal: AbortSignal,
): Promise<ConfigFile[]> {
  const { datacenterPath } = config;
  const vmx: DatastoreFile = { path: parseDatastorePath(config.path), datacenterPath };
  const bytes = await client.readSmall(vmx, VMX_BYTES_MAX, signal);
  const files: ConfigFile[] = [{ name: safeFileName(vmx.path.path), bytes }];
  const nvram: DatastoreFile = { path: sibling(vmx.path, nvramName(vmx.path.path, bytes)), datacenterPath };
  try {
    files.push({ name: safeFileName(nvram.path.path), bytes: await client.readSmall(nvram, NVRAM_BYTES_MAX, signal) });
  } catch (error) {
    // A VM that was never switched on has none.
    if (!(error instanceof NotFoundError)) throw error;
  }
  return files;
}

/** What the .vmx says, when that is a bare name; else the usual name beside it. */
function nvramName(vmxPath: string, vmx: Uint8Array): string {
  const text = Buffer.from(vmx).toString("utf8");
  const named = /^[ \t]*nvram[ \t]*=[ \t]*"([^"\r\n]*)"/im.exec(text)?.[1] ?? "";
  if (named !== "" && named !== "." && named !== ".." && !/[/\\\u0000-\u001f\u007f]/.test(named)) return named;
  const base = vmxPath.slice(vmxPath.lastIndexOf("/") + 1);
  return `${base.replace(/\.vmx$/i, "")}.nvram`;
}
