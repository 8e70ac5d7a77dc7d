import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import type { Extent } from "../../../src/block-source.js";
import { SpoolFile } from "../../../src/xen/spool/spool-file.js";
import { bytes, KIB, MIB } from "../../../src/units.js";
import { patternBytes } from "../../fixtures/block/memory.js";
import { blockSourceContract } from "../../fixtures/contract/block-source.js";
import { scratch } from "../../fixtures/scratch.js";

const { signal } = new AbortController();

async function spooled(directory: string, ...chunks: readonly Uint8Array[]): Promise<SpoolFile> {
  const file = await SpoolFile.create(directory);
  for (const chunk of chunks) await file.append(chunk);
  await file.finish();
  return file;
}

void t.test("what was appended in pieces is a block source", async (t) => {
  const directory = join(scratch(t), "new/cache");
  await blockSourceContract(t, {
    blockBytes: 64 * KIB,
    size: 5 * 64 * KIB + 1536,
    runs: 20,
    open: async (content) => {
      const file = await spooled(
        directory,
        new Uint8Array(1000),
        content.subarray(0, 70_001),
        content.subarray(70_001),
      );
      return {
        ...file.part(bytes(1000), bytes(content.length)),
        [Symbol.asyncDispose]: () => file[Symbol.asyncDispose](),
      };
    },
  });
  t.strictSame(readdirSync(directory), [], "it has no name");
  t.equal(statSync(directory).mode & 0o777, 0o700);
});

void t.test("zeros take no room, wherever the pieces end", async (t) => {
  const data = patternBytes(64 * KIB);
  await using file = await spooled(
    scratch(t),
    data.subarray(0, 10),
    data.subarray(10),
    new Uint8Array(3 * MIB),
    new Uint8Array(1),
  );
  t.equal(file.size, 3 * MIB + 64 * KIB + 1);
  const source = file.part(bytes(0), file.size);
  const extents: Extent[] = [];
  for await (const extent of source.extents?.(bytes(0), source.size, { signal }) ?? []) extents.push(extent);
  t.strictSame(extents, [
    { kind: "data", start: 0, length: 64 * KIB },
    { kind: "hole", start: 64 * KIB, length: 3 * MIB + 1 },
  ]);
  const { fd } = source.localFile?.() ?? { fd: -1 };
  const { blocks, size } = statSync(`/proc/self/fd/${fd}`);
  t.equal(size, file.size, "the hole at the end is there");
  t.ok(blocks * 512 <= 256 * KIB, `${blocks} blocks`);
});

void t.test("too little room is told before the first byte, and a directory that cannot be used", async (t) => {
  const directory = scratch(t);
  await t.rejects(SpoolFile.create(directory, 2 ** 50), {
    exit: "space",
    message: /no room for \d+ bytes/,
    hint: /cache\.dir/,
  });
  writeFileSync(join(directory, "file"), "");
  await t.rejects(SpoolFile.create(join(directory, "file")), { name: "ConfigError", hint: /cache\.dir/ });
  mkdirSync(join(directory, "empty"));
  t.strictSame(readdirSync(join(directory, "empty")), []);
});
