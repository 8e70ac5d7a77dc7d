import { stat } from "node:fs/promises";
import { basename, join } from "node:path";
import type { BlockSource } from "../block-source.js";
import { CATALOG_NAME, type Catalog, parseCatalog } from "../catalog.js";
import { CleanupStack } from "../cleanup.js";
import { IntegrityError, MissingCapabilityError, NotFoundError, UsageError } from "../errors.js";
import { ExtentMap } from "../fs/block/extent-map.js";
import { printable } from "../printable.js";
import { readRegularFile } from "../regular-file.js";
import { bytes } from "../units.js";
import type { Packing } from "../xen/import/packing-gate.js";
import { editOva } from "../xen/xva/edit-ova.js";
import { expectedDisks } from "../xen/xva/expected-disks.js";
import { identifyArchive } from "../xen/xva/identify.js";
import { formatOva, type Ova, parseOva } from "../xen/xva/ova.js";
import { readXva } from "../xen/xva/read-xva.js";
import { textOf } from "../xen/xva/rpc-value.js";
import { virtualXva } from "../xen/xva/virtual-xva.js";
import type { XapiVersion } from "../xen/xapi/xapi.js";
import { openImage } from "./local-image.js";

const HEAD_BYTES = 512;
const DOCUMENT = "ova.xml";
/** Records of one VM with all its snapshots: some hundred KiB at most. */
const DOCUMENT_BYTES_MAX = 16 * 1024 * 1024;

/** What will be sent to a pool. */
export interface PoolArchive extends AsyncDisposable {
  readonly source: BlockSource;
  /** All disks at full size; undefined for a packed archive, into which nobody looks. */
  readonly virtualBytes: number | undefined;
  /** For which version it was written; undefined likewise, or when that was lowered to fit. */
  readonly writtenFor: XapiVersion | undefined;
  readonly packing: Packing;
}

/**
 * Opens what a backup holds of a Xen VM: an `.xva`, packed or not, or the folder that a mount showed (ova.xml,
 * catalog.json and the raw disks), of which an archive is made while it is sent. All of it but a packed one is looked
 * through first, so that a damaged or cut one is found before anything happens.
 * @param pool the version that must take it
 * @throws NotFoundError, IntegrityError, UsageError
 */
export async function openPoolArchive(path: string, pool: XapiVersion, signal: AbortSignal): Promise<PoolArchive> {
  const stats = await stat(path).catch((cause: unknown) => {
    throw new NotFoundError(`Cannot restore "${path}": ${(cause as Error).message}`, { cause });
  });
  return stats.isDirectory() ? await openFolder(path, pool, signal) : await openFile(path, signal);
}

async function openFile(path: string, signal: AbortSignal): Promise<PoolArchive> {
  await using undo = new CleanupStack();
  const source = undo.use("close the archive", await openImage(path));
  const head = new Uint8Array(Math.min(HEAD_BYTES, source.size));
  await source.read(head, bytes(0), { signal });
  const kind = identifyArchive(head);
  if (kind === "other") {
    throw new IntegrityError(`Cannot restore "${path}": it is no .xva archive`, {
      hint: `An archive begins with ${DOCUMENT}; raw disks are restored by the folder that holds them and ${DOCUMENT}`,
    });
  }
  const facts = kind === "plain" ? factsOf((await readXva(source, signal)).ova) : NOTHING_KNOWN;
  undo.keep();
  return { source, packing: kind, ...facts, [Symbol.asyncDispose]: () => source[Symbol.asyncDispose]() };
}

const NOTHING_KNOWN = { virtualBytes: undefined, writtenFor: undefined };

function factsOf(ova: Ova): { readonly virtualBytes: number; readonly writtenFor: XapiVersion } {
  const number = (name: string): number => Number(textOf(ova.version.members.get(name)) ?? "0");
  return {
    virtualBytes: expectedDisks(ova).reduce((sum, { size }) => sum + size, 0),
    writtenFor: { major: number("xapi_major"), minor: number("xapi_minor") },
  };
}

interface RestoredDisk {
  /** VBD.userdevice. */
  readonly key: string;
  readonly label: string;
  readonly source: BlockSource;
  readonly holes: ExtentMap | undefined;
}

async function openFolder(folder: string, pool: XapiVersion, signal: AbortSignal): Promise<PoolArchive> {
  const catalog = await readCatalog(folder);
  const document = await readSmall(join(folder, DOCUMENT));
  await using undo = new CleanupStack();
  const disks: RestoredDisk[] = [];
  for (const disk of catalog.disks) {
    if (!disk.included) continue;
    // Whoever wrote the catalog would choose which file of this machine goes to the pool.
    if (basename(disk.file) !== disk.file) {
      throw new IntegrityError(
        `Cannot restore "${folder}": "${printable(disk.file)}", which its ${CATALOG_NAME} names, does not lie in it`,
      );
    }
    const source = undo.use(`close ${disk.file}`, await openImage(join(folder, disk.file)));
    if (source.size !== disk.capacityBytes) {
      throw new IntegrityError(
        `Cannot restore "${join(folder, disk.file)}": it has ${source.size} bytes, and the disk had ${disk.capacityBytes}`,
        { hint: "The copy is not complete" },
      );
    }
    const holes =
      source.extents && (await ExtentMap.collect(source.size, source.extents(bytes(0), source.size, { signal })));
    disks.push({ key: disk.key, label: disk.label, source, holes });
  }
  const { vm, snapshot } = catalog;
  const edited = editOva(parseOva(document), {
    uuid: snapshot.ref ?? vm.ref,
    asUuid: vm.ref,
    name: vm.name,
    disks: disks.map(({ key, label, source }) => ({ userdevice: key, size: source.size, name: label })),
    xapiMax: pool,
  });
  const source = await virtualXva({
    ovaXml: formatOva(edited.ova),
    disks: edited.disks.map(({ id, userdevice }) => {
      const disk = disks.find(({ key }) => key === userdevice);
      if (disk === undefined) throw new IntegrityError(`Cannot restore "${folder}": disk ${userdevice} is missing`);
      return { id, source: disk.source, holes: disk.holes };
    }),
    // What every version takes.
    checksum: "sha1",
  });
  const files = undo.move();
  return {
    source,
    virtualBytes: disks.reduce((sum, disk) => sum + disk.source.size, 0),
    writtenFor: undefined,
    packing: "plain",
    async [Symbol.asyncDispose]() {
      await source[Symbol.asyncDispose]();
      await files[Symbol.asyncDispose]();
    },
  };
}

async function readCatalog(folder: string): Promise<Catalog> {
  const catalog = parseCatalog(Buffer.from(await readSmall(join(folder, CATALOG_NAME))).toString());
  if (catalog.server.kind === "xen") return catalog;
  throw new MissingCapabilityError(`Cannot restore "${folder}": it is the backup of a VM of another kind of server`, {
    hint: "vmmount restore takes VMs of Xen pools",
  });
}

/** A file of the backup that is kept in memory. */
async function readSmall(path: string): Promise<Uint8Array> {
  return await readRegularFile(path, DOCUMENT_BYTES_MAX).catch((cause: unknown) => {
    if (cause instanceof IntegrityError) throw cause;
    throw new UsageError(`Cannot restore: ${(cause as Error).message}`, {
      cause,
      hint: `Name an .xva file, or the folder that a mount showed, with ${CATALOG_NAME}, ${DOCUMENT} and the .raw disks`,
    });
  });
}
