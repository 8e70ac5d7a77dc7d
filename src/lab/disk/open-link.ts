import type { Range } from "../ranges.js";
import { DeltaLink } from "./delta-link.js";
import { FlatLink } from "./flat-link.js";
import { extentPath, type DiskLink, type LinkFiles, type ReadDescriptor } from "./link.js";

/** Opens a link by what its descriptor says. */
export async function openLink(link: ReadDescriptor): Promise<DiskLink> {
  const extent = extentPath(link);
  const files: LinkFiles = { descriptor: link.path, extent };
  const [first, ...others] = link.descriptor.extents;
  if (first === undefined || extent === undefined || others.length > 0 || first.offset !== 0)
    return new OpaqueLink(files);
  if (first.type === "VMFS" || first.type === "FLAT") return FlatLink.open(files, link.descriptor, extent);
  if (first.type === "VMFSSPARSE") return DeltaLink.open(files, extent);
  return new OpaqueLink(files);
}

/** Files that the lab serves without understanding them; the guest sees zeros. */
class OpaqueLink implements DiskLink {
  readonly kind = "opaque";
  readonly files: LinkFiles;

  constructor(files: LinkFiles) {
    this.files = files;
  }

  overlay(): Promise<void> {
    return Promise.resolve();
  }

  write(): Promise<void> {
    return Promise.reject(new Error(`The lab cannot write ${this.files.descriptor}: only flat disks and their deltas`));
  }

  allocated(): Promise<Range[]> {
    return Promise.resolve([]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Nothing is open.
  }
}
