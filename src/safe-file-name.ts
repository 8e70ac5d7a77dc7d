/** A path component of every Linux file system. */
const NAME_BYTES_MAX = 255;

/** The last part of a path as a file name that can be shown anywhere. */
export function safeFileName(path: string): string {
  const name = path.slice(path.lastIndexOf("/") + 1).replace(/[\u0000-\u001f\u007f-\u009f/\\]/g, "_");
  if (name === "" || name === "." || name === "..") return "_";
  if (Buffer.byteLength(name) <= NAME_BYTES_MAX) return name;
  // The end holds the suffix that tells what the file is.
  const suffix = /\.[A-Za-z0-9]{1,8}$/.exec(name)?.[0] ?? "";
  const room = NAME_BYTES_MAX - suffix.length;
  return `${Buffer.from(name)
    .subarray(0, room)
    .toString("utf8")
    .replace(/\ufffd+$/, "")}${suffix}`;
}
