import { IntegrityError, MissingCapabilityError } from "../errors.js";
import { type DiskDescription, diskNodeName } from "../hypervisor.js";
import { NO_PARENT_CID, parseDescriptor, type VmdkDescriptor, type VmdkExtent } from "../image/vmdk/descriptor.js";
import { bytes, MIB, sectorsToBytes } from "../units.js";
import { type DatastoreClient, type DatastoreFile, shown } from "./datastore-client.js";
import { parseDatastorePath, sibling } from "./datastore-path.js";
import { type FlatSegment, FlatSource } from "./flat-source.js";

/** A descriptor has some hundred bytes; 4096 extents need about half a MiB. */
const DESCRIPTOR_BYTES_MAX = MIB;
const FLAT_TYPES: readonly string[] = ["FLAT", "VMFS"];
/** The link's kind in words, by the descriptor's createType. */
const KINDS: Readonly<Record<string, string>> = {
  vmfsSparse: "a VMFS sparse (vmfsSparse) delta",
  seSparse: "an SE sparse (seSparse) delta",
  vmfsRDM: "a raw device mapping (vmfsRDM)",
  vmfsRawDeviceMap: "a raw device mapping (vmfsRawDeviceMap)",
  vmfsRDMP: "a physical raw device mapping (vmfsRDMP)",
  vmfsPassthroughRawDeviceMap: "a physical raw device mapping (vmfsPassthroughRawDeviceMap)",
};

export interface HttpsDisk {
  readonly vmName: string;
  /** As the snapshot holds it: its files no longer change. */
  readonly disk: DiskDescription;
  readonly datacenterPath: string | undefined;
}

/**
 * Opens a frozen disk over the datastore's HTTPS service.
 * @throws MissingCapabilityError for anything but flat extents, IntegrityError for a descriptor that does not fit
 */
export async function openHttpsDisk(at: HttpsDisk, client: DatastoreClient, signal: AbortSignal): Promise<FlatSource> {
  const { disk, datacenterPath } = at;
  const link: DatastoreFile = { path: parseDatastorePath(disk.path), datacenterPath };
  const descriptor = await readDescriptor(at, link, client, signal);
  refuseUnlessFlat(at, link, descriptor);
  const source = new FlatSource(await segmentsOf(descriptor, link, client, signal), client);
  if (source.size !== disk.capacity) {
    throw new IntegrityError(
      `Cannot read ${named(at)}: ${shown(link)} describes ${source.size} bytes, but the server says ${disk.capacity}`,
    );
  }
  return source;
}

function named({ disk, vmName }: HttpsDisk): string {
  return `"${disk.label}" (${diskNodeName(disk.node)}) of "${vmName}"`;
}

function unreadable(at: HttpsDisk, link: DatastoreFile, what: string): MissingCapabilityError {
  return new MissingCapabilityError(
    `Cannot read ${named(at)}: its link ${shown(link)} is ${what}, and the https transport reads flat disks only`,
    { hint: "Use a transport that reads through the host (nbdssl with VDDK), or remove the VM's older snapshots" },
  );
}

async function readDescriptor(
  at: HttpsDisk,
  link: DatastoreFile,
  client: DatastoreClient,
  signal: AbortSignal,
): Promise<VmdkDescriptor> {
  const size = await client.size(link, signal);
  // An uploaded disk of a hosted product has its descriptor inside, and its data in the same file.
  if (size > DESCRIPTOR_BYTES_MAX) throw unreadable(at, link, "an image with its data inside (hosted sparse)");
  const content = await client.readSmall(link, DESCRIPTOR_BYTES_MAX, signal);
  const text = Buffer.from(content).toString("utf8");
  if (text.startsWith("KDMV")) throw unreadable(at, link, "an image with its data inside (hosted sparse)");
  // Object stores write an object's URL where a file's name would stand.
  if (/^\s*RW\s+\d+\s+\w+\s+"(vsan|vvol|objectid|fcd)[^"]*:\/\//im.test(text)) {
    throw unreadable(at, link, "an object of vSAN or a virtual volume, which has no data file");
  }
  try {
    return parseDescriptor(text);
  } catch (error) {
    if (!(error instanceof IntegrityError)) throw error;
    throw new IntegrityError(`Cannot read ${named(at)}: ${shown(link)} is no usable descriptor: ${error.message}`, {
      cause: error,
    });
  }
}

function refuseUnlessFlat(at: HttpsDisk, link: DatastoreFile, descriptor: VmdkDescriptor): void {
  const { createType, extents, parentCid } = descriptor;
  const odd = extents.find(
    ({ type, access }) => (!FLAT_TYPES.includes(type) && type !== "ZERO") || access === "NOACCESS",
  );
  const kind = KINDS[createType];
  if (odd !== undefined) throw unreadable(at, link, kind ?? `a ${createType} link with ${odd.type} extents`);
  if (kind !== undefined) throw unreadable(at, link, kind);
  // A flat file can still be a delta, where the array made the copy: only part of the disk may be in it.
  if (parentCid !== NO_PARENT_CID || at.disk.parents.length > 0) {
    throw unreadable(at, link, `a ${createType} delta of ${at.disk.parents[0] ?? "another disk"}`);
  }
}

async function segmentsOf(
  descriptor: VmdkDescriptor,
  link: DatastoreFile,
  client: DatastoreClient,
  signal: AbortSignal,
): Promise<FlatSegment[]> {
  const segments: FlatSegment[] = [];
  let start = 0;
  for (const extent of descriptor.extents) {
    const length = sectorsToBytes(extent.sectors);
    segments.push({ start: bytes(start), length, data: await extentData(extent, link, client, signal) });
    start += length;
  }
  return segments;
}

async function extentData(
  extent: VmdkExtent,
  link: DatastoreFile,
  client: DatastoreClient,
  signal: AbortSignal,
): Promise<FlatSegment["data"]> {
  if (extent.name === undefined) return undefined;
  const file: DatastoreFile = { path: sibling(link.path, extent.name), datacenterPath: link.datacenterPath };
  const size = await client.size(file, signal);
  const offset = sectorsToBytes(extent.offset);
  const needed = offset + sectorsToBytes(extent.sectors);
  if (size < needed) {
    throw new IntegrityError(`Cannot read ${shown(file)}: it has ${size} bytes, but its descriptor needs ${needed}`);
  }
  return { file, size, offset };
}
