import { open, unlink } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { ConfigError, RefusedError } from "../errors.js";
import { parseConfigJs } from "./config-js.js";
import { decodeText } from "./decode-text.js";
import { importConfig, type ImportedConfig } from "./import-config.js";
import type { ImportNote } from "./notes.js";

/** VCB's own file is a page of comments; more is a mistake such as a wrong path. */
const FILE_BYTES_MAX = 256 * 1024;

export interface ImportFileOptions {
  /** Where the configuration goes; undefined: nowhere, and neither does the password. */
  readonly output: string | undefined;
  readonly serverName: string | undefined;
}

/**
 * Translates the config.js of VCB, and writes the result when it is told where to. All or nothing; no file is overwritten.
 * @returns the path of what was written
 * @throws ConfigError for a file that is none; RefusedError when something is in the way
 */
export async function importFile(
  path: string,
  { output, serverName }: ImportFileOptions,
): Promise<{ imported: ImportedConfig; written: string | undefined }> {
  const { text, guess } = decodeText(await readBounded(path), path);
  const written = output === undefined ? undefined : resolve(output);
  const passwordDirectory = written === undefined ? undefined : dirname(written);
  const imported = importConfig(parseConfigJs(text, path), { path, serverName, passwordDirectory });
  const guessed: ImportNote[] =
    guess === undefined ? [] : [{ kind: "repaired", key: "*", line: undefined, message: `it was read as ${guess}` }];
  if (written !== undefined) await writeAll(written, imported);
  return { imported: { ...imported, notes: [...guessed, ...imported.notes] }, written };
}

async function readBounded(path: string): Promise<Uint8Array> {
  try {
    await using file = await open(path, "r");
    const buffer = Buffer.alloc(FILE_BYTES_MAX + 1);
    let length = 0;
    for (;;) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length);
      if (bytesRead === 0) return buffer.subarray(0, length);
      length += bytesRead;
      if (length > FILE_BYTES_MAX) throw new RangeError(`it is larger than ${FILE_BYTES_MAX} bytes`);
    }
  } catch (cause) {
    throw new ConfigError(`Cannot read "${path}": ${(cause as Error).message}`, { cause });
  }
}

async function writeAll(output: string, { toml, password, passwordFile }: ImportedConfig): Promise<void> {
  const made: string[] = [];
  try {
    if (passwordFile !== undefined && password !== undefined) {
      await writeNew(passwordFile, `${password.reveal()}\n`, made);
    }
    await writeNew(output, toml, made);
  } catch (error) {
    for (const path of made) await unlink(path);
    throw error;
  }
}

async function writeNew(path: string, text: string, made: string[]): Promise<void> {
  try {
    await using file = await open(path, "wx", 0o600);
    made.push(path);
    await file.writeFile(text);
    await file.sync();
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "EEXIST") {
      throw new RefusedError(`Cannot write "${path}": it exists already`, {
        cause,
        hint: "Give another --output, or move the file away first: nothing is overwritten",
      });
    }
    throw new ConfigError(`Cannot write "${path}": ${(cause as Error).message}`, { cause });
  }
}
