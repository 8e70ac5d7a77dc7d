import t from "tap";
import { bytes, MIB } from "../../../src/units.js";
import { AllocatedBlocks } from "../../../src/vddk/allocated-blocks.js";
import type { Vddk } from "../../../src/vddk/library.js";

void t.test("a success without a list makes no hole", async (t) => {
  const asked: string[] = [];
  const silent = {
    has: () => true,
    check: () => undefined,
    callAside: (name: string) => {
      asked.push(name);
      return Promise.resolve(0);
    },
  } as unknown as Vddk;
  t.equal(await AllocatedBlocks.probe(silent, null, bytes(MIB)), undefined);
  t.strictSame(asked, ["QueryAllocatedBlocks"]);
});
