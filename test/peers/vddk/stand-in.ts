import { join } from "node:path";
import t, { type Test } from "tap";
import { makeLibraryPath } from "../../../src/vddk/library-path.js";
import { run, succeed } from "../../fixtures/host/command-line.js";
import { buildVddkStandIn, NATIVE_BUILD, VDDK_6, VDDK_8, VddkRules } from "../../fixtures/host/vddk-stand-in.js";
import { scratch } from "../../fixtures/scratch.js";

await buildVddkStandIn();

/** The functions that VDDK 6.5 has, without the `VixDiskLib_` before each. */
const OLD = `Attach CheckRepair Cleanup Clone Close Connect ConnectEx Create CreateChild Defragment Disconnect EndAccess
  Exit Flush FreeConnectParams FreeErrorText FreeInfo GetConnectParams GetErrorText GetInfo GetMetadataKeys
  GetTransportMode Grow Init InitEx IsAttachPossible ListTransportModes Open PrepareForAccess Read ReadAsync
  ReadMetadata Rename Shrink SpaceNeededForClone Unlink Wait Write WriteAsync WriteMetadata`.split(/\s+/);
const SINCE_67 = ["AllocateConnectParams", "FreeBlockList", "QueryAllocatedBlocks"];

for (const [libDir, major, names] of [
  [VDDK_8, 8, [...OLD, ...SINCE_67]],
  [VDDK_6, 6, OLD],
] as const) {
  await t.test(`libvixDiskLib.so.${major} exports the documented functions and nothing else`, async (t) => {
    const text = await succeed("nm", ["-D", "--defined-only", join(libDir, "lib64", `libvixDiskLib.so.${major}`)]);
    const exported = text
      .trim()
      .split("\n")
      .map((line) => line.split(" ").slice(1).join(" "));
    t.strictSame(exported.sort(), names.map((name) => `T VixDiskLib_${name}`).sort());
  });
}

/** Structs as the documentation of VDDK has them: size, then where each field begins. */
const LAYOUT: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  ConnectParams: {
    sizeof: 128,
    vmxSpec: 0,
    serverName: 8,
    thumbPrint: 16,
    privateUse: 24,
    credType: 32,
    "creds.uid.userName": 40,
    "creds.uid.password": 48,
    "creds.sessionId.cookie": 40,
    "creds.sessionId.userName": 48,
    "creds.sessionId.key": 56,
    "creds.ticketId": 40,
    port: 64,
    nfcHostPort: 68,
    vimApiVer: 72,
    reserved: 80,
    state: 88,
    "spec.vStorageObjSpec.id": 96,
    "spec.vStorageObjSpec.datastoreMoRef": 104,
    "spec.vStorageObjSpec.ssId": 112,
    "spec.dsSpec.datastoreMoRef": 96,
    "spec.dsSpec.diskFolder": 104,
    specType: 120,
  },
  Geometry: { sizeof: 12 },
  Info: {
    sizeof: 64,
    biosGeo: 0,
    physGeo: 12,
    capacity: 24,
    adapterType: 32,
    numLinks: 36,
    parentFileNameHint: 40,
    uuid: 48,
    logicalSectorSize: 56,
    physicalSectorSize: 60,
  },
  CreateParams: {
    sizeof: 32,
    diskType: 0,
    adapterType: 4,
    hwVersion: 8,
    capacity: 16,
    logicalSectorSize: 24,
    physicalSectorSize: 28,
  },
  Block: { sizeof: 16, offset: 0, length: 8 },
  BlockList: { sizeof: 8, numBlocks: 0, blocks: 8 },
  VStorageObjectSpec: { sizeof: 24 },
};

const CONSTANTS: Readonly<Record<string, number>> = {
  VIXDISKLIB_SECTOR_SIZE: 512,
  VIXDISKLIB_MIN_CHUNK_SIZE: 128,
  VIXDISKLIB_MAX_CHUNK_NUMBER: 524288,
  VIXDISKLIB_FLAG_OPEN_UNBUFFERED: 1,
  VIXDISKLIB_FLAG_OPEN_SINGLE_LINK: 2,
  VIXDISKLIB_FLAG_OPEN_READ_ONLY: 4,
  VIXDISKLIB_FLAG_OPEN_COMPRESSION_ZLIB: 16,
  VIXDISKLIB_FLAG_OPEN_COMPRESSION_FASTLZ: 32,
  VIXDISKLIB_FLAG_OPEN_COMPRESSION_SKIPZ: 64,
  VIXDISKLIB_FLAG_OPEN_COMPRESSION_MASK: 0x3f0,
  VIXDISKLIB_CRED_UID: 1,
  VIXDISKLIB_CRED_SESSIONID: 2,
  VIXDISKLIB_CRED_TICKETID: 3,
  VIXDISKLIB_CRED_SSPI: 4,
  VIXDISKLIB_CRED_UNKNOWN: 256,
  VIXDISKLIB_SPEC_VMX: 0,
  VIXDISKLIB_SPEC_VSTORAGE_OBJECT: 1,
  VIXDISKLIB_SPEC_DATASTORE: 2,
  VIXDISKLIB_DISK_MONOLITHIC_SPARSE: 1,
  VIXDISKLIB_DISK_MONOLITHIC_FLAT: 2,
  VIXDISKLIB_DISK_SPLIT_SPARSE: 3,
  VIXDISKLIB_DISK_SPLIT_FLAT: 4,
  VIXDISKLIB_DISK_VMFS_FLAT: 5,
  VIXDISKLIB_DISK_STREAM_OPTIMIZED: 6,
  VIXDISKLIB_DISK_VMFS_THIN: 7,
  VIXDISKLIB_DISK_VMFS_SPARSE: 8,
  VIXDISKLIB_DISK_UNKNOWN: 256,
  VIXDISKLIB_ADAPTER_IDE: 1,
  VIXDISKLIB_ADAPTER_SCSI_BUSLOGIC: 2,
  VIXDISKLIB_ADAPTER_SCSI_LSILOGIC: 3,
  VIXDISKLIB_ADAPTER_UNKNOWN: 256,
  VIX_OK: 0,
  VIX_E_FAIL: 1,
  VIX_E_OUT_OF_MEMORY: 2,
  VIX_E_INVALID_ARG: 3,
  VIX_E_FILE_NOT_FOUND: 4,
  VIX_E_OBJECT_IS_BUSY: 5,
  VIX_E_NOT_SUPPORTED: 6,
  VIX_E_FILE_ERROR: 7,
  VIX_E_DISK_FULL: 8,
  VIX_E_INCORRECT_FILE_TYPE: 9,
  VIX_E_FILE_READ_ONLY: 11,
  VIX_E_FILE_ACCESS_ERROR: 13,
  VIX_E_FILE_ALREADY_LOCKED: 15,
  VIX_E_FILE_NAME_INVALID: 22,
  VIX_E_BUFFER_TOOSMALL: 24,
  VIX_E_AUTHENTICATION_FAIL: 35,
  VIX_E_HOST_CONNECTION_LOST: 36,
  VIX_E_INVALID_LOGIN_CREDENTIALS: 3050,
  VIX_E_VM_NOT_FOUND: 4000,
  VIX_E_SNAPSHOT_NOTFOUND: 13003,
  VIX_E_HOST_NETWORK_CONN_REFUSED: 14009,
  VIX_E_HOST_TCP_CONN_LOST: 14011,
  VIX_E_DISK_INVAL: 16000,
  VIX_E_DISK_NOINIT: 16001,
  VIX_E_DISK_PARTIALCHAIN: 16003,
  VIX_E_DISK_OUTOFRANGE: 16007,
  VIX_E_DISK_CID_MISMATCH: 16008,
  VIX_E_DISK_NOTSUPPORTED: 16013,
  VIX_E_DISK_INVALIDCHAIN: 16030,
  VIX_E_DISK_KEY_NOTFOUND: 16052,
  VIX_E_DISK_SUBSYSTEM_INIT_FAIL: 16053,
  VIX_E_DISK_INVALID_CONNECTION: 16054,
  VIX_E_DISK_INVALIDDISK: 16063,
  VIX_E_CANNOT_CONNECT_TO_HOST: 18000,
  VIX_ASYNC: 25000,
  VIX_E_ASYNC_MIXEDMODE_UNSUPPORTED: 26000,
  "sizeof VixError": 8,
  "sizeof Bool": 1,
};

/** The fields that 6.5 does not have yet. */
const NEW_FIELDS = /^(reserved|state|spec\..*|specType|(logical|physical)SectorSize)$/;
const OLD_SIZES: Readonly<Record<string, number>> = { ConnectParams: 80, Info: 56, CreateParams: 24 };

function facts(isOld: boolean): Record<string, number> {
  const all: Record<string, number> = { ...CONSTANTS };
  for (const [struct, fields] of Object.entries(LAYOUT)) {
    for (const [field, value] of Object.entries(fields)) {
      if (field === "sizeof") all[`sizeof ${struct}`] = (isOld ? OLD_SIZES[struct] : undefined) ?? value;
      else if (!isOld || !NEW_FIELDS.test(field)) all[`${struct}.${field}`] = value;
    }
  }
  return all;
}

await t.test("structs and constants are those of the real library", async (t) => {
  t.strictSame(JSON.parse(await succeed(join(NATIVE_BUILD, "abi-8.0"), [])), facts(false), "8.0");
  t.strictSame(JSON.parse(await succeed(join(NATIVE_BUILD, "abi-6.5"), [])), facts(true), "6.5");
});

/** Programs that abort cannot remove their files. */
function leavingFilesIn(t: Test): Readonly<Record<string, string>> {
  return { TMPDIR: scratch(t) };
}

for (const [program, libDir] of [
  ["exercise", VDDK_8],
  ["exercise-6.5", VDDK_6],
] as const) {
  await t.test(`${program}: what a program in C finds`, async (t) => {
    const path = join(NATIVE_BUILD, program);
    const names = (await succeed(path, [])).trim().split("\n");
    t.ok(names.length > 10);
    for (const name of names) {
      const { code, signal, stderr } = await run(path, [libDir, name], { env: leavingFilesIn(t) });
      if (name === "panic") {
        t.equal(signal, "SIGABRT", "a panic ends the process");
        t.match(stderr, /^PANIC: the rule panic_read ends the process at sector 0$/m);
      } else t.equal(code, 0, code === 0 ? name : `${name}: ${stderr}`);
    }
  });
}

await t.test("a foreign OpenSSL is noticed by the library and by its plug-in", async (t) => {
  const env = leavingFilesIn(t);
  const load = (how: string) => run(join(NATIVE_BUILD, "foreign-openssl"), [VDDK_8, how], { env });
  const plain = await load("plain");
  t.equal(plain.signal, "SIGABRT");
  t.match(plain.stderr, /PANIC: OpenSSL of the library is not the bundled one but that of .*foreign-openssl/);
  const half = await load("library");
  t.equal(half.signal, "SIGABRT");
  t.match(half.stderr, /PANIC: OpenSSL of the plug-in is not the bundled one but that of .*foreign-openssl/);
  const both = await load("both");
  t.equal(both.code, 0, both.stderr);
});

/** A node that starts the library with the loads that the test chooses, logging to stderr by vwarnx of libc. */
const NODE = `
  import koffi from "koffi";
  const [libDir, deep, stack] = process.argv.slice(1);
  if (stack !== "") koffi.config({ sync_stack_size: Number(stack) });
  const log = koffi.load("libc.so.6").symbol("vwarnx", "void *");
  const library = koffi.load(libDir + "/lib64/libvixDiskLib.so.8", { deep: deep.includes("library") });
  if (deep.includes("plugin")) koffi.load(libDir + "/lib64/libdiskLibPlugin.so", { deep: true });
  const initEx = library.func("uint64_t VixDiskLib_InitEx(uint32_t, uint32_t, void *, void *, void *, str, str)");
  const error = initEx(6, 5, log, log, log, libDir, null);
  if (error !== 0) throw new Error("InitEx: " + error);
  library.func("void VixDiskLib_Exit()")();
`;

await t.test("node's own OpenSSL, and a small stack of its calls, are noticed", async (t) => {
  const rules = await VddkRules.write(t, "/nonexistent");
  const start = (deep: string, stack: string) =>
    run(process.execPath, ["--input-type=module", "--eval", NODE, VDDK_8, deep, stack], { env: rules.env });
  const plain = await start("", "");
  t.equal(plain.signal, "SIGABRT");
  t.match(plain.stderr, /PANIC: OpenSSL of the library is not the bundled one but that of .*node/);
  const half = await start("library", "");
  t.equal(half.signal, "SIGABRT");
  t.match(half.stderr, /PANIC: OpenSSL of the plug-in is not the bundled one but that of .*node/);
  const small = await start("library plugin", String(256 * 1024));
  t.equal(small.signal, "SIGSEGV", "256 KiB of stack are not enough");
  const good = await start("library plugin", "");
  t.equal(good.code, 0, good.stderr);
  t.match(good.stderr, /Background: the thread of the library runs/);
  t.strictSame(await rules.events(), ["exit"]);
  await rules.set(["library_path=required"]);
  const lost = await start("library plugin", "");
  t.match(lost.stderr, /InitEx: 16053/, "further libraries are not found");
  const withPath = (path: string) =>
    run(process.execPath, ["--input-type=module", "--eval", NODE, VDDK_8, "library plugin", ""], {
      env: { ...rules.env, LD_LIBRARY_PATH: path },
    });
  const astray = await withPath(join(VDDK_8, "lib64"));
  t.equal(astray.code, 127, "with VMware's libstdc++ in front of its own, Node does not even start");
  t.match(astray.stderr, /undefined symbol|GLIBCXX/);
  const path = join(scratch(t), "lib");
  await makeLibraryPath(join(VDDK_8, "lib64"), path);
  const found = await withPath(path);
  t.equal(found.code, 0, found.stderr);
});
