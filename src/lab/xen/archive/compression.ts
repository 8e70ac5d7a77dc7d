import { spawn } from "node:child_process";
import { Duplex, Readable, type Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";

export type Compression = "none" | "gzip" | "zstd";

/** As hosts do it: the whole archive through one compressor. */
export function compressed(source: AsyncIterable<Uint8Array>, compression: Compression): AsyncIterable<Uint8Array> {
  switch (compression) {
    case "none":
      return source;
    case "gzip":
      return through(source, createGzip());
    case "zstd":
      return through(source, zstd(["--compress"]));
  }
}

/**
 * A stream that cannot be decompressed ends early without another sign: hosts read from a program's output and do not ask how
 * it ended.
 */
export async function* decompressed(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
): AsyncGenerator<Uint8Array> {
  if (compression === "none") {
    yield* source;
    return;
  }
  const program = compression === "gzip" ? createGunzip() : zstd(["--decompress"]);
  try {
    yield* through(source, program);
  } catch {
    // Said above: the reader finds out that bytes are missing.
  }
}

/** Node 20 has no zstd; Debian's program of this name works as a filter. */
function zstd(args: readonly string[]): Duplex {
  const child = spawn("zstd", [...args, "--quiet", "--stdout"], { stdio: ["pipe", "pipe", "ignore"] });
  const duplex = Duplex.from({ writable: child.stdin, readable: child.stdout });
  child.once("error", (error) => duplex.destroy(error));
  duplex.once("close", () => child.kill());
  return duplex;
}

async function* through(source: AsyncIterable<Uint8Array>, filter: Duplex | Transform): AsyncGenerator<Uint8Array> {
  let failure: Error | undefined;
  const fed = pipeline(Readable.from(source, { objectMode: false }), filter).catch((error: unknown) => {
    failure = error instanceof Error ? error : new Error(String(error));
  });
  try {
    for await (const chunk of filter as AsyncIterable<Buffer>) yield chunk;
  } finally {
    filter.destroy();
    await fed;
  }
  if (failure !== undefined) throw failure;
}
