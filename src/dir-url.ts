import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

/** `dir:///srv/vms` stands where a server's URL would: a folder of this host that holds VMs. */
export function isDirUrl(url: string): boolean {
  return /^dir:/i.test(url);
}

const EXAMPLE = 'write "dir:///srv/vms": three slashes, an absolute path, and % ? # as %25 %3F %23';

/**
 * The folder of a `dir:` URL: absolute, without a slash at its end.
 * @throws RangeError that says how to write it
 */
export function folderOfDirUrl(url: string): string {
  const path = /^dir:\/\/(\/[^?#]*)$/i.exec(url)?.[1];
  if (path === undefined) throw new RangeError(`Cannot use this folder URL: ${EXAMPLE}`);
  let folder: string;
  try {
    folder = decodeURIComponent(path);
  } catch (error) {
    throw new RangeError(`Cannot use this folder URL: a % in it begins no character; ${EXAMPLE}`, { cause: error });
  }
  if (/[\u0000-\u001f\u007f]/.test(folder)) {
    throw new RangeError("Cannot use this folder URL: it holds control characters");
  }
  return resolve(folder);
}

/** The one spelling of a folder's URL. */
export function dirUrl(folder: string): string {
  return pathToFileURL(resolve(folder)).href.replace(/^file:/, "dir:");
}
