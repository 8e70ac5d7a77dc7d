import {
  AuthError,
  BusyError,
  DiskIoError,
  IntegrityError,
  MissingCapabilityError,
  NotFoundError,
  UnreachableError,
  type VmmountError,
} from "../errors.js";

/**
 * VixError, 64 bits: 0–15 the code, 16–23 flags, 24–31 what kind of number the upper half is, 32–63 that number (vix.h of
 * open-vm-tools). Only the code is compared.
 */
export interface VixError {
  readonly code: number;
  readonly extra: number;
  readonly extraKind: number;
}

export const VIX_OK = 0;
/** Not a failure: the request is on its way. */
export const VIX_ASYNC = 25_000;

/** @param result as koffi gives it: a number, or a BigInt above 2^53 */
export function vixError(result: number | bigint): VixError {
  const value = BigInt.asUintN(64, BigInt(result));
  return { code: Number(value & 0xffffn), extra: Number(value >> 32n), extraKind: Number((value >> 24n) & 0xffn) };
}

type Make = new (message: string, options?: { readonly hint?: string; readonly retryable?: boolean }) => VmmountError;

interface Meaning {
  readonly text: string;
  readonly kind?: Make;
  readonly retryable?: true;
  readonly hint?: string;
}

const THUMBPRINT_HINT =
  "The usual reason is that the thumbprint is not the one of the server's certificate; the VDDK log has more";

/** What a code means in practice; others are failures of the disk with the library's own text. */
const MEANINGS: Readonly<Record<number, Meaning>> = {
  1: { text: "the library does not say why" },
  2: { text: "no memory is left, here or on the host", retryable: true },
  3: { text: "an argument is invalid" },
  4: { text: "there is no such file, or no path to its storage", kind: NotFoundError },
  5: { text: "it is busy", kind: BusyError, retryable: true },
  6: { text: "this is not supported", kind: MissingCapabilityError },
  8: { text: "the datastore is full" },
  11: { text: "it is read-only", kind: AuthError },
  13: {
    text: "the file may not be opened",
    kind: AuthError,
    hint: "A disk of a running VM needs its snapshot; else the account lacks a privilege on the datastore",
  },
  14: { text: "the file is too large for this library", retryable: true },
  15: { text: "somebody has locked the file: it is not the snapshot's", kind: BusyError },
  31: { text: "an operation is in progress", kind: BusyError, retryable: true },
  32: {
    text: "the licence does not allow it",
    kind: MissingCapabilityError,
    hint: "A free ESXi has no storage API; missing Global.DisableMethods and Global.EnableMethods look the same",
  },
  34: { text: "the host is disconnected", kind: UnreachableError, retryable: true },
  35: { text: "the server does not know the login", kind: AuthError },
  36: { text: "the connection to the host was lost", retryable: true },
  3014: { text: "the account lacks privileges", kind: AuthError },
  3050: { text: "user or password is wrong", kind: AuthError },
  4000: { text: "the server does not know the VM", kind: NotFoundError },
  13003: { text: "the server does not know the snapshot", kind: NotFoundError },
  14006: { text: "the host does not take the connection", retryable: true },
  14007: { text: "no socket could be made", retryable: true },
  14008: { text: "the host is not found", retryable: true },
  14009: {
    text: "the host refuses the connection",
    retryable: true,
    hint: "Port 902 is blocked, or the host has as many connections as it takes: mount fewer VMs of it at once",
  },
  14010: { text: "the connection to the host has an error", retryable: true },
  14011: { text: "the connection to the host was lost", retryable: true },
  16000: { text: "the request is invalid: unaligned, or to a closed disk" },
  16003: { text: "a parent of the disk is missing", kind: IntegrityError },
  16006: { text: "the disk needs repair", kind: IntegrityError },
  16007: { text: "it is beyond the end of the disk" },
  16008: { text: "the chain of the disk is broken (content IDs differ)", kind: IntegrityError },
  16053: {
    text: "the transports could not be loaded",
    kind: MissingCapabilityError,
    hint: "vddk.libdir must be the folder that has lib64 in it, whole as it was unpacked; /sys/class/scsi_disk must exist (modprobe sd_mod)",
  },
  16065: { text: "the disk did not appear on this machine", kind: MissingCapabilityError },
  16066: { text: "the device is not supported", kind: MissingCapabilityError },
  18000: { text: "the host cannot be reached", kind: UnreachableError, retryable: true },
};

/** The login is no longer, or was never, known. */
const LOGIN_REFUSED: readonly number[] = [35, 3050];
/** Codes that a login may be the reason of, if it is of a kind that the library cannot use: FAIL, INVALID_ARG, NOT_SUPPORTED. */
const LOGIN_DOUBTED: readonly number[] = [1, 3, 6];

/** Whether another way to log in may help. */
export function blamesLogin(code: number | undefined, login: "has worked" | "is new"): boolean {
  if (code === undefined) return false;
  return LOGIN_REFUSED.includes(code) || (login === "is new" && LOGIN_DOUBTED.includes(code));
}

const CODES = new WeakMap<VmmountError, number>();

/** Of an error that crossed a border between processes. */
export function rememberVixCode(error: VmmountError, code: number): void {
  CODES.set(error, code);
}

/** Of an error that translatedVix made. */
export function vixCodeOf(error: VmmountError): number | undefined {
  return CODES.get(error);
}

/**
 * A failure of the library in our words.
 * @param action "Cannot open …"
 * @param said the library's own text
 */
export function translatedVix(action: string, { code, extra }: VixError, said: string): VmmountError {
  const { text, kind: Kind = DiskIoError, retryable, hint } = MEANINGS[code] ?? { text: said };
  const number = extra === 0 ? `VDDK error ${code}` : `VDDK error ${code}, ${extra}`;
  const words = said === "" || said === text ? number : `${number}: ${said}`;
  const error = new Kind(`${action}: ${text} (${words})`, {
    retryable: retryable ?? false,
    ...(hint !== undefined && { hint }),
    ...(code === 1 && { hint: THUMBPRINT_HINT }),
  });
  CODES.set(error, code);
  return error;
}
