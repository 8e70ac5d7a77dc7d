import { createHash } from "node:crypto";
import { IntegrityError } from "../errors.js";
import { type Inode, ROOT_INODE } from "./filesystem.js";

/** 48 bits: exact in a number, and two of 1000 files collide once in half a billion trees. */
const HASH_BYTES = 6;

/** The hash that makes an inode of an identity; tests make it collide. */
export type InodeHash = (text: string) => number;

function hash48(text: string): number {
  return createHash("sha256").update(text).digest().readUIntBE(0, HASH_BYTES);
}

/**
 * An inode for each identity, from nothing but the set of identities: their order does not matter, so the same files
 * get the same inodes on every run. One that collides is hashed again, the later in text order.
 * @throws IntegrityError when two identities are the same
 */
export function assignInodes(identities: readonly string[], hash: InodeHash = hash48): ReadonlyMap<string, Inode> {
  const inodes = new Map<string, Inode>();
  const taken = new Set<Inode>([0, ROOT_INODE]);
  for (const identity of [...identities].sort()) {
    if (inodes.has(identity))
      throw new IntegrityError(`Cannot build the tree: two entries are ${JSON.stringify(identity)}`);
    let inode = hash(identity);
    for (let again = 1; taken.has(inode); again++) inode = hash(`${identity}\0${again}`);
    taken.add(inode);
    inodes.set(identity, inode);
  }
  return inodes;
}
