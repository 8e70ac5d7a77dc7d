/** A place in the memory for the data of one read. */
export interface PayloadSlot {
  /** Where the server puts the data. */
  readonly offset: number;
  readonly bytes: Uint8Array;
  /** The server that might still write into it is gone, and another one may. */
  isStale: boolean;
}

/**
 * Memory that a client and its server have in common, divided into slots: what is read goes through it in place of the socket.
 * A slot belongs to one read from the moment it is taken until the server has answered, also when nobody waits for the answer
 * any more. Those of a connection that failed stay taken, since the server may still be writing, until it is replaced.
 */
export class SharedPayloads {
  readonly slotBytes: number;
  readonly #free: PayloadSlot[];
  readonly #taken = new Set<PayloadSlot>();

  constructor(memory: Uint8Array, slotBytes: number) {
    this.slotBytes = slotBytes;
    this.#free = Array.from({ length: Math.floor(memory.length / slotBytes) }, (_, index) => {
      const offset = index * slotBytes;
      return { offset, bytes: memory.subarray(offset, offset + slotBytes), isStale: false };
      // The last one is taken first: memory that was never needed is never touched.
    }).reverse();
  }

  /** Undefined when all are taken, and for more than one holds. */
  take(length: number): PayloadSlot | undefined {
    const slot = length > this.slotBytes ? undefined : this.#free.pop();
    if (slot !== undefined) this.#taken.add(slot);
    return slot;
  }

  /** The server has answered. */
  give(slot: PayloadSlot): void {
    if (this.#taken.delete(slot)) this.#free.push(slot);
  }

  /** The server is no process any more: what it had is free again, and answers of it that are still on their way count for nothing. */
  takeBack(): void {
    for (const slot of this.#taken) {
      slot.isStale = true;
      this.#free.push({ offset: slot.offset, bytes: slot.bytes, isStale: false });
    }
    this.#taken.clear();
  }
}
