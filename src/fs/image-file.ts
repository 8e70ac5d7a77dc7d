import type { BlockSource } from "../block-source.js";
import type { Bytes } from "../units.js";
import type { ExtentMap } from "./block/extent-map.js";
import { sparse } from "./block/sparse.js";
import type { OpenFile } from "./filesystem.js";

/** What a file of the tree holds. The tree only reads it; whoever made it disposes of it. */
export interface FileContent {
  readonly size: Bytes;
  /** Undefined when unknown: the file then counts as full. */
  readonly allocated: Bytes | undefined;
  open(): OpenFile;
}

/** One disk as a flat, read-only file. With a map, holes are holes of the file and cost no I/O. */
export function imageFile(source: BlockSource, map?: ExtentMap): FileContent {
  const open = (): OpenFile => {
    const reader = source.reader?.();
    const bytes = map === undefined ? (reader ?? source) : sparse(reader ?? source, map);
    return {
      read: (into, at, options) => bytes.read(into, at, options),
      seek: (at, whence) => (map === undefined ? seekInData(source.size, at, whence) : map.seek(at, whence)),
      ...(source.localFile === undefined ? {} : { localFile: source.localFile.bind(source) }),
      // A reader of its own only forgets what it has learned: it has nothing to wait for, and nothing to fail.
      release: () => void reader?.[Symbol.asyncDispose](),
    };
  };
  return { size: source.size, allocated: map?.allocated, open };
}

/** A small file whose bytes are known: metadata, descriptors. `content` must not change afterwards. */
export function memoryFile(content: Uint8Array): FileContent {
  const size = content.length as Bytes;
  const file: OpenFile = {
    read: (into, at) => {
      if (at + into.length > size) {
        return Promise.reject(new RangeError(`Cannot read ${into.length} bytes at ${at}: the file has ${size} bytes`));
      }
      into.set(content.subarray(at, at + into.length));
      return Promise.resolve();
    },
    seek: (at, whence) => seekInData(size, at, whence),
    release: () => undefined,
  };
  return { size, allocated: size, open: () => file };
}

function seekInData(size: Bytes, at: Bytes, whence: "data" | "hole"): Bytes {
  return whence === "data" ? at : size;
}
