import koffi, { type LibraryHandle } from "koffi";
import { MissingCapabilityError } from "../errors.js";
import type { CallLog } from "./call-log.js";
import type { VddkLibrary } from "./find-library.js";
import { prototypeOf, symbolOf, VDDK_FUNCTIONS, type VddkFunctionName } from "./functions.js";
import { translatedVix, vixError, VIX_OK } from "./vix-error.js";

/** Of each native call. koffi's own stacks have 1 MiB and 128 KiB without a guard page: what lies behind them would be overwritten. */
const STACK_BYTES = 8 * 1024 * 1024;

const PR_SET_DUMPABLE = 4;

/**
 * To be called before anything else native, once per process: stacks large enough for the library, which koffi takes before the
 * first library is loaded only; no core dumps and no ptrace by other processes of the same user, since this process knows a
 * password and the library may abort it. Not by src/libc.ts, which loads the C library when it is imported.
 */
export function prepareNativeCalls(): void {
  koffi.config({ sync_stack_size: STACK_BYTES, async_stack_size: STACK_BYTES });
  const prctl = koffi.load(null).func("int prctl(int option, ulong a, ulong b, ulong c, ulong d)");
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) !== 0) throw new Error("Cannot forbid core dumps");
}

/** The interface that is asked for: every library from 6.5 to 9 takes it. */
const API_MAJOR = 6;
const API_MINOR = 5;

type Native = ((...args: unknown[]) => unknown) & {
  readonly async: (...args: [...unknown[], (error: Error | null, result: unknown) => void]) => void;
};

/** A pointer of the library's, as koffi gives it; null for none. */
export type Pointer = bigint | null;

/**
 * VMware's library, loaded and initialised: once per process, and never again after `exit`. Its calls open, close and ask on the
 * thread that made it; reads may come from others.
 */
export class Vddk {
  readonly #functions: ReadonlyMap<VddkFunctionName, Native>;
  /** Kept: what is loaded must not be collected. */
  readonly libraries: readonly LibraryHandle[];
  /** Undefined while nobody wants to read of calls. */
  readonly calls: CallLog | undefined;

  private constructor(parts: {
    readonly functions: ReadonlyMap<VddkFunctionName, Native>;
    readonly libraries: readonly LibraryHandle[];
    readonly calls: CallLog | undefined;
  }) {
    this.#functions = parts.functions;
    this.libraries = parts.libraries;
    this.calls = parts.calls;
  }

  /**
   * Loads the library and its transports. Both bind to their own OpenSSL first (RTLD_DEEPBIND): Node exports another one under
   * the same names, with which the library ends the process.
   * @throws MissingCapabilityError naming what is missing
   */
  static load({ main, plugin, version }: VddkLibrary, calls: CallLog | undefined): Vddk {
    try {
      const library = koffi.load(main, { deep: true });
      // InitEx would load it as well, but bound to Node's symbols.
      const transports = koffi.load(plugin, { deep: true });
      const functions = new Map<VddkFunctionName, Native>();
      const missing: string[] = [];
      for (const name of Object.keys(VDDK_FUNCTIONS) as VddkFunctionName[]) {
        const bound = bind(library, name);
        if (bound !== undefined) functions.set(name, bound);
        else if (VDDK_FUNCTIONS[name].need === "required") missing.push(symbolOf(name));
      }
      if (missing.length > 0) {
        throw new MissingCapabilityError(`Cannot use VDDK ${version} of "${main}": it has no ${missing.join(", ")}`, {
          hint: "Install VDDK 6.5 or later, of a release that knows your vSphere",
        });
      }
      return new Vddk({ functions, libraries: [library, transports], calls });
    } catch (cause) {
      if (cause instanceof MissingCapabilityError) throw cause;
      throw new MissingCapabilityError(`Cannot load VDDK from "${main}": ${(cause as Error).message}`, {
        cause,
        hint: "vddk.libdir must be the folder that has lib64 in it, whole as it was unpacked",
      });
    }
  }

  /**
   * InitEx. Log lines go through functions of the C library, since the library logs from its own threads while this one waits:
   * plain ones to stdout, warnings and the last words to stderr.
   * @throws MissingCapabilityError, DiskIoError
   */
  init(libdir: string, configFile: string | undefined): void {
    const libc = koffi.load(null);
    unbuffered(libc);
    const [log, warn] = [libc.symbol("vprintf") as Pointer, libc.symbol("vwarnx") as Pointer];
    this.check(
      "Cannot start VDDK",
      this.call("InitEx", API_MAJOR, API_MINOR, log, warn, warn, libdir, configFile ?? null),
    );
  }

  has(name: VddkFunctionName): boolean {
    return this.#functions.has(name);
  }

  /** Calls a function on this thread. */
  call(name: VddkFunctionName, ...args: readonly unknown[]): unknown {
    const bound = this.#function(name);
    if (this.calls === undefined) return bound(...args);
    const began = performance.now();
    const result = bound(...args);
    this.calls.returned(name, began, result);
    return result;
  }

  /** Calls a function on another thread; buffers among the arguments are the library's until then. */
  async callAside(name: VddkFunctionName, ...args: readonly unknown[]): Promise<unknown> {
    const bound = this.#function(name);
    const began = this.calls === undefined ? 0 : performance.now();
    return await new Promise((resolve, reject) => {
      bound.async(...args, (error, result) => {
        if (error instanceof Error) reject(error);
        else {
          this.calls?.returned(name, began, result);
          resolve(result);
        }
      });
    });
  }

  /** @throws VmmountError when `result` is a failure */
  check(action: string, result: unknown): void {
    const error = vixError(result as number | bigint);
    if (error.code !== VIX_OK) throw translatedVix(action, error, this.errorText(result as number | bigint));
  }

  /** The library's own words. */
  errorText(result: number | bigint): string {
    const text = this.call("GetErrorText", result, null) as Pointer;
    if (text === null) return "";
    try {
      return koffi.decode.string(text).trim();
    } finally {
      this.call("FreeErrorText", text);
    }
  }

  /** Stops the library's threads; nothing can be called any more. */
  exit(): void {
    this.call("Exit");
  }

  #function(name: VddkFunctionName): Native {
    const bound = this.#functions.get(name);
    if (bound === undefined)
      throw new MissingCapabilityError(`Cannot call ${symbolOf(name)}: this VDDK does not have it`);
    return bound;
  }
}

function bind(library: LibraryHandle, name: VddkFunctionName): Native | undefined {
  try {
    return library.func(prototypeOf(name)) as Native;
  } catch {
    // koffi has no other way to ask whether a symbol is there.
    return undefined;
  }
}

/** Lines must arrive when they are written, not when 4 KiB are full or the process has died. */
function unbuffered(libc: LibraryHandle): void {
  const IONBF = 2;
  const stdout = koffi.decode(libc.symbol("stdout"), "void *") as Pointer;
  const setvbuf = libc.func("int setvbuf(void *stream, void *buffer, int mode, size_t size)");
  setvbuf(stdout, null, IONBF, 0);
}
