import koffi from "koffi";

/**
 * Memory whose address is a multiple of `alignment`: disks that are attached to this machine and opened without a cache take no
 * other.
 * @param alignment a power of 2
 */
export function alignedBytes(length: number, alignment: number): Uint8Array {
  const room = Buffer.allocUnsafeSlow(length + alignment);
  const skip = Number(-koffi.address(room) & BigInt(alignment - 1));
  return room.subarray(skip, skip + length);
}
