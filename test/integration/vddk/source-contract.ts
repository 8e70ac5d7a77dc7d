import t from "tap";
import { blockSourceContract } from "../../fixtures/contract/block-source.js";
import { VDDK_6, VDDK_8 } from "../../fixtures/host/vddk-stand-in.js";
import { LibraryService } from "../../fixtures/vddk/library-service.js";

// The source that a mount reads: through our VDDK host's process, its NBD server and the library.

const { signal } = new AbortController();

for (const [name, libdir, mode] of [
  ["nbdssl, with requests that are queued", VDDK_8, "nbdssl"],
  ["san, where each is served before the next", VDDK_8, "san"],
  ["a library of 6.5", VDDK_6, "nbd"],
] as const) {
  await t.test(`a disk behind the library keeps the contract of what is read: ${name}`, async (t) => {
    const library = await LibraryService.start(t, { libdir, rules: ["modes=san:nbdssl:nbd"] });
    let disks = 0;
    await blockSourceContract(t, {
      open: async (content) => {
        const { request } = await library.disk(`d${++disks}`, content);
        const { source } = await library.service.open({ ...request, mode }, { signal, otherwise: "nothing" });
        return source;
      },
      size: 9 * 65_536 + 1536,
      blockBytes: 65_536,
      runs: mode === "nbdssl" ? 20 : 5,
    });
  });
}
