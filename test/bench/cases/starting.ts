import { open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { CleanupStack } from "../../../src/cleanup.js";
import { MIB } from "../../../src/units.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { startBenchLab } from "../lab-address.js";
import { mountMachine } from "../peers/vmmount.js";
import { rssBytes } from "../process-cost.js";
import type { Sample } from "../contender.js";
import { alternate, type Table } from "../table.js";
import { ownerOf, type Workbench } from "../workbench.js";

export const FIRST_BYTE = "from the start of vmmount mount to the first byte";
export const SNAPSHOT_ALONE = "the snapshot alone, by hand";
/** How long the daemon has nothing to do before its memory is read. */
const IDLE_MS = 2_000;

/** Case h: how long a mount takes, beside the snapshot that the server needs anyway; and what an idle daemon keeps. */
export async function starting(bench: Workbench): Promise<Table[]> {
  await using owner = new CleanupStack();
  const { lab, client } = await startBenchLab(bench, owner);
  const host = await ProxyHost.make(ownerOf(owner), lab.server);
  const machine = await lab.reference(bench.site.dense);
  const idle: Sample[] = [];
  const series = await alternate(bench, "h", [
    {
      name: FIRST_BYTE,
      run: async (runOwner) => {
        const began = performance.now();
        const { path, pids } = await mountMachine(runOwner, host, { locator: `/dc1/${bench.site.dense}` });
        await readFirstByte(path);
        const value = (performance.now() - began) / 1000;
        await sleep(IDLE_MS, undefined, { signal: bench.signal });
        idle.push({ value: (await rssBytes(pids)) / MIB });
        return { value };
      },
    },
    {
      name: SNAPSHOT_ALONE,
      run: async (runOwner) => {
        const began = performance.now();
        const snapshot = await client.snapshot(machine, "by hand");
        const value = (performance.now() - began) / 1000;
        runOwner.add("remove the snapshot", async () => {
          await client.removeSnapshot(snapshot);
        });
        return { value };
      },
    },
  ]);
  const memory = { name: "idle mount daemon", samples: idle, error: undefined };
  return [
    { id: "h", title: "a mount from its start to the first byte", unit: "s", series },
    {
      id: "h-memory",
      title: `resident memory of a mount daemon, idle for ${IDLE_MS / 1000} s`,
      unit: "MiB",
      series: [memory],
    },
  ];
}

async function readFirstByte(path: string): Promise<void> {
  await using file = await open(path, "r");
  const { bytesRead } = await file.read(Buffer.alloc(1), 0, 1, 0);
  if (bytesRead !== 1) throw new Error(`${path} is empty`);
}
