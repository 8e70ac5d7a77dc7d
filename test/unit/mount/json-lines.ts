import { Readable } from "node:stream";
import fc from "fast-check";
import t from "tap";
import { IntegrityError } from "../../../src/errors.js";
import { readJsonLines } from "../../../src/mount/json-lines.js";
import { holds } from "../../fixtures/property.js";

async function collect(chunks: readonly (string | Buffer)[], max = 1000): Promise<unknown[]> {
  const values: unknown[] = [];
  const stream = Readable.from(chunks.map((chunk) => Buffer.from(chunk)));
  for await (const value of readJsonLines(stream, max)) values.push(value);
  return values;
}

void t.test("readJsonLines() gives each line's value, however the bytes are cut", async (t) => {
  const property = fc.asyncProperty(
    fc.array(fc.json(), { maxLength: 5 }),
    fc.array(fc.nat(200)),
    async (values, cuts) => {
      const bytes = Buffer.from(values.map((json) => `${JSON.stringify(JSON.parse(json))}\n`).join(""));
      const at = [...new Set([0, ...cuts.filter((cut) => cut < bytes.length), bytes.length])].sort((a, b) => a - b);
      const chunks = at.slice(1).map((end, i) => bytes.subarray(at[i], end));
      const got = await collect(chunks, 1_000_000);
      if (JSON.stringify(got) !== JSON.stringify(values.map((json) => JSON.parse(json) as unknown))) {
        throw new Error("The values differ");
      }
    },
  );
  await holds(t, property, { runs: 100 });
});

void t.test("readJsonLines() leaves out a last line that has no end", async (t) => {
  t.strictSame(await collect(['{"a":1}\n{"b"']), [{ a: 1 }]);
  t.strictSame(await collect([]), []);
});

void t.test("readJsonLines() refuses long lines, with or without an end, and what is not JSON", async (t) => {
  const long = `"${"x".repeat(20)}"`;
  t.strictSame(await collect([`${long}\n`], 22), ["x".repeat(20)]);
  for (const chunks of [
    [`${long}\n`],
    [long],
    [`1\n${long}\n2\n`],
    [long.slice(0, 15), long.slice(15)],
    ['"ääääääääääää"\n'],
  ]) {
    await t.rejects(collect(chunks, 21), IntegrityError);
  }
  for (const text of ["\n", "x\n", "{\n", "1 2\n"]) await t.rejects(collect([text]), { message: /it is not JSON/ });
});

void t.test("readJsonLines() leaves the stream open to its owner", async (t) => {
  const stream = Readable.from([Buffer.from("1\n2\n")]);
  for await (const value of readJsonLines(stream, 10)) {
    t.equal(value, 1);
    break;
  }
  t.notOk(stream.destroyed);
});
