import type { BlockSource } from "../../block-source.js";

/** One file of a pool source: whole, unchanging, on this machine. */
export interface PoolFile {
  /** Safe to show; may lie in one folder: `vm-metadata/UUID.vmmeta`. */
  readonly path: string;
  /** In words: "records of VM web01". */
  readonly about: string;
  readonly source: BlockSource;
  /** Of its bytes, in hex. */
  readonly sha256: string;
}

/** What was fetched; disposing it closes the files. */
export interface PoolFiles extends AsyncDisposable {
  readonly files: readonly PoolFile[];
}
