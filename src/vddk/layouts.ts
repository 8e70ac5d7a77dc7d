import koffi from "koffi";

/**
 * Structures of libvixDiskLib on 64-bit Linux, naturally aligned. Names are those of VMware's header; strings are pointers to
 * memory of the caller.
 */

// The union of credentials takes 24 bytes: {userName, password}, or {cookie, userName, key}.
export const ConnectParams = koffi.struct("VixDiskLibConnectParams", {
  vmxSpec: "void *",
  serverName: "void *",
  thumbPrint: "void *",
  privateUse: "long",
  credType: "int",
  credential1: "void *",
  credential2: "void *",
  credential3: "void *",
  port: "uint32_t",
  nfcHostPort: "uint32_t",
  // Releases before 6.7 end here.
  vimApiVer: "void *",
  reserved: koffi.array("char", 8),
  state: "void *",
  spec1: "void *",
  spec2: "void *",
  spec3: "void *",
  specType: "int",
});

const Geometry = koffi.struct("VixDiskLibGeometry", {
  cylinders: "uint32_t",
  heads: "uint32_t",
  sectors: "uint32_t",
});

/** Up to 6.7. */
export const Info = koffi.struct("VixDiskLibInfo", {
  biosGeo: Geometry,
  physGeo: Geometry,
  /** In 512 bytes, also for disks of other sectors. */
  capacity: "uint64_t",
  adapterType: "int",
  numLinks: "int",
  parentFileNameHint: "const char *",
  uuid: "const char *",
});

/** From 7.0 on, behind Info. */
export const InfoSectorSizes = koffi.struct("VixDiskLibInfoSectorSizes", {
  logicalSectorSize: "uint32_t",
  physicalSectorSize: "uint32_t",
});

/** In sectors. */
export const Block = koffi.struct("VixDiskLibBlock", { offset: "uint64_t", length: "uint64_t" });
/** Where the blocks of a list begin, behind their uint32_t count. */
export const BLOCK_LIST_HEAD_BYTES = 8;

export const CREDENTIALS_USER_PASSWORD = 1;
export const CREDENTIALS_SESSION = 2;
export const SPEC_TYPE_VMX = 0;
export const OPEN_UNBUFFERED = 1;
export const OPEN_READ_ONLY = 4;

/** What releases before 6.7 get, whose callers allocate the structure: with room for what later ones have. */
export const CONNECT_PARAMS_BYTES = 128;
