import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { IntegrityError } from "../errors.js";

/**
 * Reads newline-delimited JSON. The stream stays open whatever ends the reading: its owner may have an answer to send.
 * @throws IntegrityError for a line over `lineBytesMax` or a line that is not JSON
 */
export async function* readJsonLines(stream: Readable, lineBytesMax: number): AsyncGenerator {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) {
    rest += decoder.write(chunk as Buffer);
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) {
      refuseLong(line, lineBytesMax);
      yield parseLine(line);
    }
    refuseLong(rest, lineBytesMax);
  }
}

function refuseLong(line: string, lineBytesMax: number): void {
  if (Buffer.byteLength(line) <= lineBytesMax) return;
  throw new IntegrityError(`Cannot read a line of more than ${lineBytesMax} bytes`);
}

function parseLine(line: string): unknown {
  try {
    return JSON.parse(line) as unknown;
  } catch (error) {
    throw new IntegrityError("Cannot read a line: it is not JSON", { cause: error });
  }
}
