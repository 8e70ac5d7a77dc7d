/**
 * The functions of libvixDiskLib that are used, once each: binding, the log of calls and the checks of a stand-in read this table.
 *
 * Types, as VMware's headers since 6.0 have them on 64-bit Linux: VixError is a uint64_t, Bool one signed byte, sectors are
 * uint64_t counts of 512 bytes, connections and handles opaque pointers, strings UTF-8 with a final NUL.
 */
export interface VddkFunction {
  /** C prototype without the prefix of the name. */
  readonly result: string;
  readonly parameters: string;
  /** The first release that has it. */
  readonly since: "6.0" | "6.5" | "6.7";
  readonly need: "required" | "optional";
  /** Where a call is logged: trace has what comes with each request of a reader. */
  readonly logged: "debug" | "trace";
}

const required = (result: string, parameters: string, since: VddkFunction["since"] = "6.0"): VddkFunction => ({
  result,
  parameters,
  since,
  need: "required",
  logged: "debug",
});
const optional = (result: string, parameters: string, since: VddkFunction["since"]): VddkFunction => ({
  result,
  parameters,
  since,
  need: "optional",
  logged: "debug",
});
const often = (one: VddkFunction): VddkFunction => ({ ...one, logged: "trace" });

export const VDDK_FUNCTIONS = {
  InitEx: required(
    "uint64_t",
    "uint32_t major, uint32_t minor, void *log, void *warn, void *panic, const char *libDir, const char *configFile",
  ),
  Exit: required("void", ""),
  ListTransportModes: required("const char *", ""),
  GetErrorText: often(required("void *", "uint64_t error, const char *locale")),
  FreeErrorText: often(required("void", "void *text")),
  Cleanup: required("uint64_t", "void *params, _Out_ uint32_t *cleaned, _Out_ uint32_t *remaining"),
  // Before 6.7 callers allocate the structure themselves, and free only what GetConnectParams gave them.
  AllocateConnectParams: optional("void *", "", "6.7"),
  FreeConnectParams: optional("void", "void *params", "6.0"),
  PrepareForAccess: required("uint64_t", "void *params, const char *identity"),
  EndAccess: required("uint64_t", "void *params, const char *identity"),
  ConnectEx: required(
    "uint64_t",
    "void *params, int8_t readOnly, const char *snapshotRef, const char *transportModes, _Out_ void **connection",
  ),
  Disconnect: required("uint64_t", "void *connection"),
  Open: required("uint64_t", "void *connection, const char *path, uint32_t flags, _Out_ void **handle"),
  Close: required("uint64_t", "void *handle"),
  GetInfo: required("uint64_t", "void *handle, _Out_ void **info"),
  FreeInfo: often(required("void", "void *info")),
  GetTransportMode: required("const char *", "void *handle"),
  Read: often(required("uint64_t", "void *handle, uint64_t start, uint64_t count, uint8_t *into")),
  Write: often(required("uint64_t", "void *handle, uint64_t start, uint64_t count, const uint8_t *from")),
  ReadAsync: often(
    optional(
      "uint64_t",
      "void *handle, uint64_t start, uint64_t count, uint8_t *into, void *callback, uintptr_t data",
      "6.0",
    ),
  ),
  WriteAsync: often(
    optional(
      "uint64_t",
      "void *handle, uint64_t start, uint64_t count, const uint8_t *from, void *callback, uintptr_t data",
      "6.0",
    ),
  ),
  Flush: optional("uint64_t", "void *handle", "6.5"),
  Wait: optional("uint64_t", "void *handle", "6.5"),
  QueryAllocatedBlocks: often(
    optional("uint64_t", "void *handle, uint64_t start, uint64_t count, uint64_t chunk, _Out_ void **list", "6.7"),
  ),
  FreeBlockList: often(optional("uint64_t", "void *list", "6.7")),
} as const satisfies Readonly<Record<string, VddkFunction>>;

export type VddkFunctionName = keyof typeof VDDK_FUNCTIONS;

/** `VixDiskLib_Open` */
export function symbolOf(name: VddkFunctionName): string {
  return `VixDiskLib_${name}`;
}

/** As koffi reads it. */
export function prototypeOf(name: VddkFunctionName): string {
  const { result, parameters } = VDDK_FUNCTIONS[name];
  return `${result} ${symbolOf(name)}(${parameters})`;
}
