import { z } from "zod";
import { errorChain, IntegrityError } from "./errors.js";

/**
 * The manifest of a mount: everything that a restore needs to know and the disks' bytes do not say. Backups keep it for
 * years, so a field's meaning never changes; a change of that kind raises the version. Unknown facts are null, so that
 * every catalog of one version has the same keys.
 */
export const CATALOG_VERSION = 1;
export const CATALOG_NAME = "catalog.json";

/** A VM with 256 disks of 32 links makes some 2 MiB. */
const CATALOG_CHARS_MAX = 16 * 1024 * 1024;

const text = z.string();
const known = z.string().nullable();
const count = z.int().nonnegative();

const diskFacts = {
  /** The server's key of the disk. */
  key: text,
  label: text,
  node: z.object({ bus: z.enum(["scsi", "sata", "ide", "nvme", "xvd"]), busNumber: count, unit: count }),
  controllerModel: text,
  capacityBytes: count,
  backing: text,
  /** Where the disk was: `[datastore] dir/file.vmdk`, and the older links of its chain. */
  path: text,
  parents: z.array(text),
  mode: text,
  provisioning: z.enum(["thin", "thick"]).nullable(),
  uuid: known,
  /** Lets a later backup ask what changed since this one. */
  changeId: known,
};

const includedDisk = z.object({
  ...diskFacts,
  included: z.literal(true),
  /** The flat image, and its descriptor, beside this catalog. */
  file: text,
  descriptor: known,
  transport: text,
  /** Those that were tried before, and why they could not be used. Absent in catalogs of before there was a choice. */
  refusedTransports: z.array(z.object({ transport: text, reason: text })).optional(),
  /** What is known of allocation and from where. */
  allocation: text,
  allocatedBytes: count.nullable(),
});

const excludedDisk = z.object({ ...diskFacts, included: z.literal(false), reason: text });

const catalogSchema = z.object({
  version: z.literal(CATALOG_VERSION),
  /** Such as "vmmount 1.0.0". */
  writtenBy: text,
  server: z.object({
    kind: z.enum(["vsphere", "xen", "dir"]),
    url: text,
    product: text,
    version: text,
    instanceUuid: known,
  }),
  vm: z.object({
    ref: text,
    name: text,
    path: text,
    instanceUuid: known,
    biosUuid: known,
    powerState: z.enum(["on", "off", "suspended"]),
    configPath: known,
    isTemplate: z.boolean(),
    changeTracking: z.boolean(),
  }),
  hardware: z.object({
    version: known,
    guestId: known,
    guestName: known,
    firmware: known,
    cpus: count,
    coresPerSocket: count.nullable(),
    memoryBytes: count,
    networks: z.array(z.object({ label: text, model: text, mac: known, network: known })),
  }),
  snapshot: z.object({
    /** Null when no snapshot was made: the disks were read as they lay there. */
    ref: known,
    name: known,
    /** ISO 8601, UTC; without a snapshot, when the mount began. */
    createdAt: z.iso.datetime(),
    consistency: z.enum(["quiesced", "crash", "offline", "inconsistent"]),
  }),
  /** Names of the VM's configuration files beside this catalog. */
  configFiles: z.array(text),
  /** Files made of disks and configuration, such as the .xva of a Xen VM. Absent where there is none. */
  archives: z.array(text).optional(),
  disks: z.array(z.discriminatedUnion("included", [includedDisk, excludedDisk])),
});

export type Catalog = z.infer<typeof catalogSchema>;
export type CatalogDisk = Catalog["disks"][number];

export function formatCatalog(catalog: Catalog): string {
  return `${JSON.stringify(catalogSchema.parse(catalog), null, 2)}\n`;
}

/**
 * Reads a catalog from a backup. Keys that this version does not know are dropped.
 * @throws IntegrityError when it is not one, or of another version
 */
export function parseCatalog(json: string): Catalog {
  if (json.length > CATALOG_CHARS_MAX) {
    throw new IntegrityError(
      `Cannot use ${CATALOG_NAME}: it has ${json.length} characters and the limit is ${CATALOG_CHARS_MAX}`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (error) {
    throw new IntegrityError(`Cannot use ${CATALOG_NAME}: it is not JSON: ${errorChain(error)}`, { cause: error });
  }
  const { success, data: versioned } = z.object({ version: z.int() }).safeParse(value);
  if (!success) throw new IntegrityError(`Cannot use ${CATALOG_NAME}: it states no version`);
  if (versioned.version !== CATALOG_VERSION) {
    throw new IntegrityError(
      `Cannot use ${CATALOG_NAME}: it has version ${versioned.version} and this program reads ${CATALOG_VERSION}`,
      { hint: versioned.version > CATALOG_VERSION ? "Use a newer vmmount to restore this backup" : undefined },
    );
  }
  const parsed = catalogSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new IntegrityError(`Cannot use ${CATALOG_NAME}: ${z.prettifyError(parsed.error).replaceAll("\n", " ")}`);
}
