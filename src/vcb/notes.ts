/**
 * What a person should know of an imported key.
 * - `ignored`: vmmount has no use for it
 * - `changed`: it means something else here, or its default is another one
 * - `decide`: nobody but the reader can say what is right
 * - `repaired`: the file was not quite right, and what it may have meant was taken
 */
export interface ImportNote {
  readonly kind: "ignored" | "changed" | "decide" | "repaired";
  /** Of config.js. */
  readonly key: string;
  /** Undefined for a key that is not set. */
  readonly line: number | undefined;
  /** One sentence without a final full stop. */
  readonly message: string;
}
