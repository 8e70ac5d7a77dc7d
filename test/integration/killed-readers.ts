import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import type { SessionStatus } from "../../src/mount/control-protocol.js";
import { MIB } from "../../src/units.js";
import { labFor } from "../fixtures/host/lab-host.js";
import { NOTHING_LEFT, ProxyHost } from "../fixtures/host/proxy-host.js";
import { sha256 } from "../fixtures/host/tree-facts.js";
import { start, startFaulting } from "../fixtures/mounting.js";

/** A server so slow that every reader is killed while it waits. */
const SLOW = { match: { method: "GET", path: "/folder/web01/" }, action: { kind: "delay", ms: 3_000 } } as const;
/** More readers than there may be requests or buffers: some wait for the server, some for memory, some for their turn. */
const READERS_EACH = 6;
const CACHE_BYTES = 8 * MIB;
const SETTLE_MS = 60_000;

async function traffic(host: ProxyHost): Promise<SessionStatus["traffic"]> {
  const { sessions } = await host.json<{ sessions: SessionStatus[] }>(["status"]);
  return sessions[0]!.traffic;
}

/** The first traffic that is as wanted, or the last one before patience ended. */
async function trafficThat(host: ProxyHost, isWanted: (now: SessionStatus["traffic"]) => boolean) {
  const end = performance.now() + SETTLE_MS;
  for (;;) {
    const now = await traffic(host);
    if (isWanted(now) || performance.now() > end) return now;
    await sleep(100);
  }
}

void t.test(
  "readers of a slow server that are killed leave nothing open, and the next ones read as if alone",
  async (t) => {
    const lab = await labFor(t);
    const host = await ProxyHost.make(t, lab);
    const env = { VMMOUNT_CACHE_SIZE: String(CACHE_BYTES) };
    const mount = await host.vmmount(["mount", "name:web01", host.mountPoint, "--allocation", "off"], { env });
    t.equal(mount.code, 0, mount.stderr);
    const stop = lab.rules.add(SLOW);
    const images = ["scsi0-0-flat.vmdk", "scsi0-1-flat.vmdk"].map((name) => join(host.mountPoint, name));
    const readers = Array.from({ length: READERS_EACH }, (_, index) => {
      const [image, other] = index % 2 === 0 ? images : images.toReversed();
      const dd = [`if=${image ?? ""}`, "of=/dev/null", "bs=1M", "status=none", `skip=${index * 4}`];
      return [start("dd", ...dd), start("dd", ...dd, "iflag=direct"), startFaulting(other ?? "")];
    }).flat();
    const busy = await trafficThat(host, ({ openFiles, readsInFlight }) => openFiles >= 12 && readsInFlight >= 4);
    t.ok(busy.readsInFlight >= 4, `${busy.readsInFlight} reads in flight, ${busy.openFiles} files open`);
    for (const { child } of readers) child.kill("SIGKILL");
    for (const { outcome } of readers) t.equal((await outcome).signal, "SIGKILL");
    const settled = await trafficThat(host, ({ openFiles, readsInFlight }) => openFiles === 0 && readsInFlight === 0);
    t.match(settled, { openFiles: 0, readsInFlight: 0, errors: 0 });
    t.ok(settled.cacheBytes <= CACHE_BYTES, `${settled.cacheBytes} bytes cached`);
    t.ok(stop() > 0, "the server was slow");
    const vm = lab.vm("web01");
    for (const [index, image] of images.entries()) {
      const expected = await vm.hashDisk(vm.disks[index]?.key ?? 0, vm.snapshots[0]?.ref ?? "");
      t.equal(await sha256(image), expected, image);
    }
    t.match(await traffic(host), { openFiles: 0, readsInFlight: 0, errors: 0 });
    t.equal((await host.vmmount(["umount", host.mountPoint])).code, 0);
    t.same(await host.leftovers(), NOTHING_LEFT);
  },
);
