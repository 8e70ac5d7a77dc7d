import koffi from "koffi";
import type { Pointer, Vddk } from "./library.js";
import type { RequestDepth } from "./request-depth.js";
import { type VixError, vixError, VIX_ASYNC, VIX_OK } from "./vix-error.js";

const Completion = koffi.proto("void VixDiskLibCompletionCB(uintptr_t data, uint64_t result)");

/**
 * The callback of every asynchronous request: one for the whole process, since registered functions are few, which finds its
 * request by a number.
 */
export class Completions {
  readonly pointer: Pointer;
  /** The oldest first. */
  readonly #waiting = new Map<number, { readonly sinceMs: number; readonly resolve: (error: VixError) => void }>();
  readonly #now: () => number;
  #next = 1;

  /** @param now milliseconds of a clock that never goes back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.pointer = koffi.register((data: number | bigint, result: number | bigint) => {
      const key = Number(data);
      const waiting = this.#waiting.get(key);
      this.#waiting.delete(key);
      waiting?.resolve(vixError(result));
    }, koffi.pointer(Completion));
  }

  /** @returns the number to hand to the library, and what it says at the end */
  expect(): { readonly key: number; readonly completed: Promise<VixError> } {
    const key = this.#next++;
    const sinceMs = this.#now();
    const completed = new Promise<VixError>((resolve) => this.#waiting.set(key, { sinceMs, resolve }));
    return { key, completed };
  }

  /** For how long the oldest request has been under way, in milliseconds. */
  get oldestMs(): number {
    const [oldest] = this.#waiting.values();
    return oldest === undefined ? 0 : this.#now() - oldest.sinceMs;
  }

  /** The library did not take the request. */
  forget(key: number): void {
    this.#waiting.delete(key);
  }
}

/** Sectors of a disk and where their bytes are, which are the library's until the request has ended. */
export interface Transfer {
  readonly kind: "read" | "write";
  readonly startSector: number;
  readonly sectorCount: number;
  readonly data: Uint8Array;
}

/** Whether it takes more than one request of a disk at a time. */
export function hasAsync(vddk: Vddk): boolean {
  return vddk.has("ReadAsync") && vddk.has("WriteAsync") && vddk.has("Wait");
}

/**
 * Reads and writes one disk: with ReadAsync and WriteAsync several at a time, else one after the other. The library wants no two
 * threads in calls for the same handle, so requests are handed over one by one, and only one kind of them is ever used.
 */
export class DiskRequests {
  readonly #vddk: Vddk;
  readonly #completions: Completions;
  readonly #isAsync: boolean;
  readonly #depth: RequestDepth;
  #underWay = 0;
  /** Ends when the call that hands over the last request has returned. */
  #handing: Promise<unknown> = Promise.resolve();
  readonly #line: (() => void)[] = [];

  /** @param depth one, where the library has no asynchronous requests */
  constructor(vddk: Vddk, completions: Completions, depth: RequestDepth) {
    this.#vddk = vddk;
    this.#completions = completions;
    this.#isAsync = hasAsync(vddk);
    this.#depth = depth;
  }

  async transfer(handle: Pointer, transfer: Transfer): Promise<VixError> {
    if (this.#underWay < this.#depth.value) this.#underWay++;
    else await new Promise<void>((resolve) => this.#line.push(resolve));
    try {
      return this.#isAsync ? await this.#queue(handle, transfer) : await this.#block(handle, transfer);
    } finally {
      // The place goes to the next in line, if there still are so many.
      const next = this.#underWay <= this.#depth.value ? this.#line.shift() : undefined;
      if (next === undefined) this.#underWay--;
      else next();
    }
  }

  /** When what was handed over before has ended: nothing is handed over meanwhile. */
  async flush(handle: Pointer): Promise<VixError> {
    return await this.inTurn(async () => {
      if (this.#isAsync) {
        const waited = vixError((await this.#vddk.callAside("Wait", handle)) as number);
        if (waited.code !== VIX_OK) return waited;
      }
      return vixError((await this.#vddk.callAside("Flush", handle)) as number);
    });
  }

  /** Makes another call for the handle, between two that hand over requests. */
  async inTurn<T>(call: () => Promise<T>): Promise<T> {
    const handing = this.#handing.then(call);
    this.#handing = handing.catch(() => undefined);
    return await handing;
  }

  async #block(handle: Pointer, { kind, startSector, sectorCount, data }: Transfer): Promise<VixError> {
    const name = kind === "read" ? "Read" : "Write";
    return await this.#handOver(name, handle, startSector, sectorCount, data);
  }

  async #queue(handle: Pointer, { kind, startSector, sectorCount, data }: Transfer): Promise<VixError> {
    const name = kind === "read" ? "ReadAsync" : "WriteAsync";
    const { key, completed } = this.#completions.expect();
    const args = [handle, startSector, sectorCount, data, this.#completions.pointer, key];
    const { calls } = this.#vddk;
    const began = calls === undefined ? 0 : performance.now();
    const given = await this.#handOver(name, ...args);
    if (given.code === VIX_ASYNC) {
      const error = await completed;
      calls?.completed(name, began, error.code);
      return error;
    }
    // Any other answer: it was refused, or done at once; the callback is not called.
    this.#completions.forget(key);
    return given;
  }

  async #handOver(name: "Read" | "Write" | "ReadAsync" | "WriteAsync", ...args: unknown[]): Promise<VixError> {
    return vixError((await this.inTurn(() => this.#vddk.callAside(name, ...args))) as number);
  }
}
