import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { IntegrityError } from "../errors.js";

/**
 * Reads newline-delimited JSON.
 * @throws IntegrityError for a line over `lineBytesMax` or a line that is not JSON
 */
export async function* readJsonLines(stream: Readable, lineBytesMax: number): AsyncGenerator {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  for await (const chunk of stream) {
    rest += decoder.write(chunk as Buffer);
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield parseLine(line);
    if (rest.length > lineBytesMax) throw new IntegrityError(`Cannot read a line of more than ${lineBytesMax} bytes`);
  }
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch (error) {
    throw new IntegrityError("Cannot read a line: it is not JSON", { cause: error });
  }
}
