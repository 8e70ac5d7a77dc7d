import { ConfigError } from "../errors.js";

export interface DecodedText {
  readonly text: string;
  /** What had to be guessed; undefined when the file says it or is plain UTF-8. */
  readonly guess: string | undefined;
}

/** Every second byte of Western text in UTF-16 is zero; a file that says so without a byte order mark has at least these. */
const ZEROS_MIN_SHARE = 0.3;

/**
 * The text of a file as editors on Windows write it: UTF-8 with or without a byte order mark, UTF-16 ("Unicode" of
 * Notepad), or the code page 1252 of Western Europe.
 * @throws ConfigError for bytes that are no text in any of them
 */
export function decodeText(data: Uint8Array, path: string): DecodedText {
  const [first, second, third] = data;
  if (first === 0xff && second === 0xfe) return { text: decoded("utf-16le", data, path), guess: undefined };
  if (first === 0xfe && second === 0xff) return { text: decoded("utf-16be", data, path), guess: undefined };
  if (first === 0xef && second === 0xbb && third === 0xbf) {
    return { text: decoded("utf-8", data, path), guess: undefined };
  }
  const wide = zeroHalf(data);
  if (wide !== undefined) {
    return { text: decoded(wide, data, path), guess: `${wide.toUpperCase()} without a byte order mark` };
  }
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(data), guess: undefined };
  } catch {
    // Not UTF-8: an editor that knew only the machine's code page.
    return { text: decoded("windows-1252", data, path), guess: "Windows code page 1252" };
  }
}

function zeroHalf(data: Uint8Array): "utf-16le" | "utf-16be" | undefined {
  const zeros = [0, 0];
  data.forEach((byte, at) => {
    if (byte === 0) zeros[at % 2] = (zeros[at % 2] ?? 0) + 1;
  });
  const [even = 0, odd = 0] = zeros;
  const least = (data.length / 2) * ZEROS_MIN_SHARE;
  if (odd > 0 && even === 0 && odd >= least) return "utf-16le";
  if (even > 0 && odd === 0 && even >= least) return "utf-16be";
  return undefined;
}

function decoded(encoding: string, data: Uint8Array, path: string): string {
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(data);
  } catch (cause) {
    throw new ConfigError(`Cannot read "${path}": it is no text in ${encoding.toUpperCase()}`, { cause });
  }
}
