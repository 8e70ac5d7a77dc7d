import { constants } from "node:os";
import { getSystemErrorName } from "node:util";
import koffi from "koffi";
import { bytes, type Bytes } from "./units.js";

/**
 * The system calls that Node does not offer. This is the only file outside src/vddk that calls native code.
 *
 * Calls that may wait for somebody else have only an asynchronous form: mount(2) and umount2(2) may need an answer from
 * the FUSE driver that runs in this very process, so a synchronous call would wait for ever.
 */
export class SystemCallError extends Error {
  /** `EBUSY`, as Node spells it in its own errors. */
  readonly code: string;
  /** Positive, as in errno(3). */
  readonly errno: number;
  readonly syscall: string;

  constructor(syscall: string, errno: number, object?: string) {
    const code = errnoName(errno);
    super(`${syscall}${object === undefined ? "" : ` ${object}`}: ${code}`);
    this.name = "SystemCallError";
    this.code = code;
    this.errno = errno;
    this.syscall = syscall;
  }
}

/** `errnoName(16)` is "EBUSY". */
export function errnoName(errno: number): string {
  return errno > 0 ? getSystemErrorName(-errno) : `errno ${errno}`;
}

type Callback = (error: Error | null, result: number) => void;
type IntFunction<A extends readonly unknown[]> = ((...args: A) => number) & {
  readonly async: (...args: [...A, Callback]) => void;
};

/** `null` is the process itself: its C library, whichever one that is. */
const libc = koffi.load(null);

function bind<A extends readonly unknown[]>(definition: string): IntFunction<A> {
  return libc.func(definition);
}

interface MessageHeader {
  readonly name: null;
  readonly namelen: number;
  readonly iov: { readonly base: Uint8Array; readonly len: number };
  readonly iovlen: number;
  readonly control: Uint8Array;
  readonly controllen: number;
  readonly flags: number;
}

// struct iovec and struct msghdr of 64-bit Linux, recvmsg(2).
koffi.struct("iovec", { base: "void *", len: "size_t" });
koffi.struct("msghdr", {
  name: "void *",
  namelen: "uint32_t",
  iov: "iovec *",
  iovlen: "size_t",
  control: "void *",
  controllen: "size_t",
  flags: "int",
});

const c = {
  mount: bind<[string, string, string, number, string]>(
    "int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)",
  ),
  umount2: bind<[string, number]>("int umount2(const char *target, int flags)"),
  flock: bind<[number, number]>("int flock(int fd, int operation)"),
  prctl: bind<[number, number, number, number, number]>(
    "int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)",
  ),
  getpagesize: bind<[]>("int getpagesize()"),
  // The calling conventions of x86-64 and arm64 on Linux pass these arguments alike to a variadic function.
  ioctl: bind<[number, number, Uint8Array]>("int ioctl(int fd, unsigned long request, void *argument)"),
  socketpair: bind<[number, number, number, Int32Array]>("int socketpair(int domain, int type, int protocol, int *sv)"),
  recvmsg: bind<[number, MessageHeader, number]>("intptr_t recvmsg(int fd, msghdr *message, int flags)"),
  statfs: bind<[string, Uint8Array]>("int statfs(const char *path, void *into)"),
  // Where a long has 32 bits, plain lseek has too.
  lseek: bind<[number, number, number]>(
    `int64_t ${koffi.sizeof("long") === 8 ? "lseek" : "lseek64"}(int fd, int64_t offset, int whence)`,
  ),
};

/** glibc has it since 2.26, musl since 1.2.5; only where a long, and so off_t, has 64 bits is it called by this name. */
const preadv2 =
  koffi.sizeof("long") === 8
    ? ifThere<[number, MessageHeader["iov"], number, number, number]>(
        "intptr_t preadv2(int fd, const iovec *iov, int iovcnt, int64_t offset, int flags)",
      )
    : undefined;

function ifThere<A extends readonly unknown[]>(definition: string): IntFunction<A> | undefined {
  try {
    return bind<A>(definition);
  } catch {
    return undefined;
  }
}

/** Runs on a thread of koffi's own pool, so it takes no libuv thread; koffi carries errno back to this thread. */
function inBackground<A extends readonly unknown[]>(
  name: string,
  object: string,
  call: IntFunction<A>,
  ...args: A
): Promise<number> {
  return new Promise((resolve, reject) => {
    call.async(...args, (error, result) => {
      const errno = koffi.errno();
      if (error instanceof Error) reject(error);
      else if (result < 0) reject(new SystemCallError(name, errno, object));
      else resolve(result);
    });
  });
}

/** Flags of mount(2), linux/mount.h. */
export const MS_RDONLY = 1;
export const MS_NOSUID = 2;
export const MS_NODEV = 4;
export const MS_NOEXEC = 8;

export interface MountCall {
  readonly source: string;
  readonly target: string;
  readonly type: string;
  readonly flags: number;
  readonly data: string;
}

/** @throws SystemCallError */
export async function mount(call: MountCall): Promise<void> {
  await inBackground("mount", call.target, c.mount, call.source, call.target, call.type, call.flags, call.data);
}

/** Flags of umount2(2). FORCE ends a FUSE connection; DETACH removes the mount even while files are open. */
export const MNT_FORCE = 1;
export const MNT_DETACH = 2;
export const UMOUNT_NOFOLLOW = 8;

/** @throws SystemCallError, with code EBUSY while somebody uses the mount and EINVAL where nothing is mounted */
export async function umount(target: string, flags: number): Promise<void> {
  await inBackground("umount2", target, c.umount2, target, flags);
}

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Takes the flock(2) of an open file if it is free: "exclusive" where nobody has it, "shared" where nobody has it
 * exclusively. The kernel drops it with the last descriptor, so a dead holder never blocks anybody.
 * @returns whether it was taken
 * @throws SystemCallError for anything but "somebody else has it"
 */
export function tryLock(fd: number, mode: "exclusive" | "shared" = "exclusive"): boolean {
  if (c.flock(fd, (mode === "shared" ? LOCK_SH : LOCK_EX) | LOCK_NB) === 0) return true;
  const errno = koffi.errno();
  if (errnoName(errno) === "EAGAIN") return false;
  throw new SystemCallError("flock", errno, `of descriptor ${fd}`);
}

const PR_SET_DUMPABLE = 4;

/** No core dumps and no ptrace by other processes of the same user: this process's memory holds passwords. */
export function forbidCoreDumps(): void {
  if (c.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) !== 0) throw new SystemCallError("prctl", koffi.errno());
}

/** ioctl(2) numbers of /dev/fuse (linux/fuse.h), the same on x86-64 and arm64. */
const FUSE_DEV_IOC_BACKING_OPEN = 0x4010e501;
const FUSE_DEV_IOC_BACKING_CLOSE = 0x4004e502;

/**
 * Registers an open file with a FUSE connection, for replies to OPEN with FOPEN_PASSTHROUGH. The argument is
 * `{ fd: i32, flags: u32, padding: u64 }`. Needs CAP_SYS_ADMIN; never waits.
 * @param device the connection's /dev/fuse
 * @returns the backing id, above 0
 * @throws SystemCallError: EPERM not negotiated or not allowed, ELOOP the file lies on too many layers, EBADF, EISDIR,
 *   ENOTTY before Linux 6.9
 */
export function openBacking(device: number, fd: number): number {
  const argument = new Uint8Array(16);
  new DataView(argument.buffer).setInt32(0, fd, true);
  const id = c.ioctl(device, FUSE_DEV_IOC_BACKING_OPEN, argument);
  if (id < 0) throw new SystemCallError("FUSE_DEV_IOC_BACKING_OPEN", koffi.errno());
  return id;
}

/** Takes a backing id back; what is open through it stays open. @throws SystemCallError ENOENT when there is none */
export function closeBacking(device: number, id: number): void {
  const argument = new Uint8Array(4);
  new DataView(argument.buffer).setUint32(0, id, true);
  const result = c.ioctl(device, FUSE_DEV_IOC_BACKING_CLOSE, argument);
  if (result < 0) throw new SystemCallError("FUSE_DEV_IOC_BACKING_CLOSE", koffi.errno());
}

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_CMSG_CLOEXEC = 0x40000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;

/** Two connected unix sockets, close-on-exec; the caller closes both. @throws SystemCallError */
export function socketPair(): readonly [number, number] {
  const pair = new Int32Array(2);
  if (c.socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) !== 0) {
    throw new SystemCallError("socketpair", koffi.errno());
  }
  const [first = -1, second = -1] = pair;
  return [first, second];
}

/**
 * Takes one descriptor out of a unix socket's queue (SCM_RIGHTS, unix(7)), close-on-exec. Does not wait.
 * @returns undefined when the next message carries none, or the other end was closed
 * @throws SystemCallError EAGAIN when nothing was sent yet
 */
export function receiveDescriptor(socket: number): number | undefined {
  // struct cmsghdr is length u64, level i32, type i32; the descriptor follows. There is room for exactly one: the
  // kernel drops others that a sender adds.
  const control = new Uint8Array(20);
  const iov = { base: new Uint8Array(1), len: 1 };
  const header = { name: null, namelen: 0, iov, iovlen: 1, control, controllen: control.length, flags: 0 };
  const received = c.recvmsg(socket, header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (received < 0) throw new SystemCallError("recvmsg", koffi.errno());
  const view = new DataView(control.buffer);
  const isRights = view.getInt32(8, true) === SOL_SOCKET && view.getInt32(12, true) === SCM_RIGHTS;
  return isRights && view.getUint32(0, true) >= 20 ? view.getInt32(16, true) : undefined;
}

/** struct statfs has 120 bytes on 64-bit Linux. */
const STATFS_BYTES = 128;

/** Makes a file system answer; the answer is dropped. @throws SystemCallError */
export async function statFileSystem(path: string): Promise<void> {
  await inBackground("statfs", path, c.statfs, path, new Uint8Array(STATFS_BYTES));
}

/** Bytes of a memory page: 4 KiB, or 16 or 64 KiB on some arm64 machines. */
export function pageSize(): number {
  return c.getpagesize();
}

/** linux/fs.h; places are counted from the start of the file. */
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

/**
 * Where data or a hole next begins at or after `at`: the end of the file counts as a hole. It moves the descriptor's
 * file offset, which nobody may count on.
 * @returns undefined when only a hole is left, or `at` lies behind the end; "unknown" when the file system cannot tell
 * @throws SystemCallError
 */
export async function seekFile(fd: number, at: Bytes, whence: "data" | "hole"): Promise<Bytes | "unknown" | undefined> {
  try {
    const object = `of descriptor ${fd}`;
    return bytes(await inBackground("lseek", object, c.lseek, fd, at, whence === "data" ? SEEK_DATA : SEEK_HOLE));
  } catch (error) {
    if (!(error instanceof SystemCallError)) throw error;
    if (error.code === "ENXIO") return undefined;
    if (error.code === "EINVAL" || error.code === "EOPNOTSUPP") return "unknown";
    throw error;
  }
}

const { ENOSYS } = constants.errno;
/** linux/fs.h: fail in place of waiting for a disk. */
const RWF_NOWAIT = 8;

/**
 * Reads what is in the page cache, and waits for nothing: handing a read to another thread and back costs more than copying
 * the bytes (preadv2(2)).
 * @returns the bytes read, 0 at the end of the file; undefined when the disk would have to be asked
 * @throws SystemCallError EOPNOTSUPP from file systems that cannot tell
 */
export function readCached(fd: number, into: Uint8Array, at: Bytes): number | undefined {
  if (preadv2 === undefined) throw new SystemCallError("preadv2", ENOSYS);
  const result = preadv2(fd, { base: into, len: into.length }, 1, at, RWF_NOWAIT);
  if (result >= 0) return result;
  const errno = koffi.errno();
  if (errnoName(errno) === "EAGAIN") return undefined;
  throw new SystemCallError("preadv2", errno, `of descriptor ${fd}`);
}
