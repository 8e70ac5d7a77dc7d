import t from "tap";
import { bytes, MIB } from "../../../src/units.js";
import { AllocatedBlocks } from "../../../src/vddk/allocated-blocks.js";
import type { Vddk } from "../../../src/vddk/library.js";
import { translatedVix, vixError } from "../../../src/vddk/vix-error.js";

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

void t.test("a host that cannot tell holes, or not to this account, is read all the same", async (t) => {
  const probe = async (code: number): Promise<unknown> => {
    const refusing = {
      has: () => true,
      callAside: () => Promise.resolve(code),
      check: (action: string, result: number) => {
        throw translatedVix(action, vixError(result), "");
      },
    } as unknown as Vddk;
    return await AllocatedBlocks.probe(refusing, null, bytes(MIB));
  };
  // FAIL, NOT_SUPPORTED, FILE_ACCESS_ERROR, HOST_USER_PERMISSIONS, the device is not supported
  for (const code of [1, 6, 13, 3014, 16066]) t.equal(await probe(code), undefined, String(code));
  // Lost, busy, or not logged in any more: reading would fail as well.
  for (const code of [5, 34, 35, 3050]) await t.rejects(probe(code), String(code));
});
