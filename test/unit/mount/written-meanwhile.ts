import t from "tap";
import { DiskIoError } from "../../../src/errors.js";
import type { OpenedDisk } from "../../../src/hypervisor.js";
import { writtenMeanwhile } from "../../../src/mount/written-meanwhile.js";
import type { Consistency } from "../../../src/snapshot/quiesce.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { memorySource } from "../../fixtures/block/memory.js";

function disk(writtenSince?: OpenedDisk["writtenSince"]): { readonly opened: OpenedDisk } {
  const source = memorySource(new Uint8Array(512));
  return { opened: { source, transport: "file", allocation: "", ...(writtenSince && { writtenSince }) } };
}

async function ask(disks: readonly { readonly opened: OpenedDisk }[], consistency: Consistency) {
  const { logger, lines } = recordingLogger();
  return { text: await writtenMeanwhile({ disks, consistency, vmName: "web01", logger }), lines };
}

void t.test("every disk that was written is named; those of a snapshot cannot tell and count as still", async (t) => {
  const one = disk(() => Promise.resolve('"a-flat.vmdk" was written'));
  const none = disk(() => Promise.resolve(undefined));
  const two = disk(() => Promise.resolve('"b-flat.vmdk" was written'));
  t.equal(
    (await ask([one, disk(), none, two], "offline")).text,
    '"a-flat.vmdk" was written, "b-flat.vmdk" was written',
  );
  t.equal((await ask([disk(), none], "crash")).text, undefined);
});

void t.test("of a VM that looked running it is only logged, since the user knows", async (t) => {
  const { text, lines } = await ask([disk(() => Promise.resolve('"a" was written'))], "inconsistent");
  t.equal(text, undefined);
  t.match(lines, [{ message: /While "web01" was mounted, "a" was written/ }]);
});

void t.test("what cannot be told is logged, and keeps nobody from unmounting", async (t) => {
  const broken = disk(() => Promise.reject(new DiskIoError("the server is gone")));
  const { text, lines } = await ask([broken], "offline");
  t.equal(text, undefined);
  t.match(lines, [{ message: /Cannot see whether .* were written .*: the server is gone/ }]);
});
