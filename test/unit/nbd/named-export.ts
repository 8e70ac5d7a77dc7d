import t from "tap";
import { NbdSource } from "../../../src/nbd/nbd-source.js";
import { bytes } from "../../../src/units.js";
import { blockSourceContract } from "../../fixtures/contract/block-source.js";
import { until } from "../../fixtures/host/until.js";
import { optionReply, type Script, scriptedServer, u32, u64 } from "../../fixtures/nbd/scripted-server.js";

const { signal } = new AbortController();
const OPTIONS = { connectMs: 2_000, stallMs: 2_000, connectionsMax: 2, holes: "asked of the server" } as const;
const UNSUPPORTED = 0x80000001;

/** Knows EXPORT_NAME and nothing newer, answers in the simple form, and ends at what is no multiple of 512, as XAPI's server. */
function namedOnly(content: Uint8Array, names: string[]): Script {
  return {
    greeting: Buffer.concat([Buffer.from("NBDMAGICIHAVEOPT"), Buffer.from([0, 1])]),
    option: (option, data) => {
      if (option !== 1) return optionReply(option, UNSUPPORTED);
      names.push(data.toString());
      return Buffer.concat([u64(content.length), Buffer.from([0, 3]), Buffer.alloc(124)]);
    },
    request: ({ cookie, offset, length }, socket) => {
      const at = Number(offset);
      if (at % 512 !== 0 || length % 512 !== 0 || at + length > content.length) {
        socket.end(Buffer.concat([u32(0x67446698, 22), u64(cookie)]));
        return undefined;
      }
      return Buffer.concat([u32(0x67446698, 0), u64(cookie), content.subarray(at, at + length)]);
    },
  };
}

void t.test("a server that knows no newer way in keeps the contract", async (t) => {
  await blockSourceContract(t, {
    open: async (content) => NbdSource.open(await scriptedServer(t, namedOnly(content, [])), OPTIONS, signal),
    blockBytes: 512,
    runs: 30,
  });
});

void t.test("it serves several connections when what it serves is frozen", async (t) => {
  for (const [isFrozen, count] of [
    [true, 2],
    [false, 1],
  ] as const) {
    const names: string[] = [];
    const target = await scriptedServer(t, namedOnly(new Uint8Array(4096), names));
    await using source = await NbdSource.open(target, { ...OPTIONS, isFrozen }, signal);
    const parts = [new Uint8Array(512), new Uint8Array(512), new Uint8Array(512)];
    await Promise.all(parts.map((part) => source.read(part, bytes(512), { signal })));
    await until("all connections are there", () => names.length >= count);
    t.strictSame(names, Array(count).fill("x"));
  }
});

void t.test("a server that has no room for another connection serves on by the first", async (t) => {
  const names: string[] = [];
  const content = Uint8Array.from({ length: 4096 }, (_, at) => at % 251);
  const script = namedOnly(content, names);
  // The second one waits for an answer for ever.
  const option: Script["option"] = (...asked) => (names.length > 0 ? Buffer.alloc(0) : script.option?.(...asked));
  const target = await scriptedServer(t, { ...script, option });
  await using source = await NbdSource.open(target, { ...OPTIONS, isFrozen: true }, signal);
  for (let round = 0; round < 3; round++) {
    const parts = [0, 512, 1024].map((at) => ({ at, into: new Uint8Array(512) }));
    await Promise.all(
      parts.map(({ at, into }) => source.read(into, bytes(at), { signal: AbortSignal.timeout(1_000) })),
    );
    for (const { at, into } of parts) t.strictSame(into, content.slice(at, at + 512));
  }
  t.strictSame(names, ["x"]);
});
