import t from "tap";
import { silentLogger } from "../../src/log.js";
import { connectVsphere } from "../../src/vsphere/connect.js";
import { labFor } from "../fixtures/host/lab-host.js";
import { ProxyHost } from "../fixtures/host/proxy-host.js";
import { nothingLeft, refused } from "../fixtures/host/refusals.js";

const { signal } = new AbortController();

void t.test("umount tells when somebody else removed the snapshot: what was read may be of another time", async (t) => {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  await host.json(["mount", "name:web01", host.mountPoint]);
  const vm = lab.vm("web01");
  {
    await using stranger = await connectVsphere({
      url: lab.url,
      user: lab.user,
      password: lab.password,
      tls: { fingerprint: lab.fingerprint, insecure: false },
      logger: silentLogger(),
      signal,
    });
    await stranger.removeSnapshot(vm.snapshots[0]?.ref ?? "", { signal });
  }
  t.same(vm.snapshots, []);
  await refused(t, host, ["umount", host.mountPoint], {
    exit: "io",
    says: [/"web01" cannot be trusted: somebody else removed its snapshot/, /repeat the backup/],
  });
  await nothingLeft(t, host, lab);
});

void t.test("umount tells when the server removed the snapshot and left its delta files", async (t) => {
  const lab = await labFor(t);
  const host = await ProxyHost.make(t, lab);
  const { session } = await host.json<{ session: string }>(["mount", "name:web01", host.mountPoint]);
  const vm = lab.vm("web01");
  lab.rules.add({ match: { method: "RemoveSnapshot_Task" }, action: { kind: "skipConsolidation" } });
  lab.rules.add({
    match: { method: "ConsolidateVMDisks_Task" },
    action: { kind: "skipConsolidation" },
  });
  await refused(t, host, ["umount", host.mountPoint], {
    exit: "leftover",
    says: [/the snapshot is removed, but the server has not merged its delta files/, new RegExp(`umount ${session}`)],
  });
  t.same([vm.snapshots, await host.mounts()], [[], []]);
  t.match(await host.json(["status"]), { sessions: [{ session, state: "leftover" }] }, "the journal keeps it");
  lab.rules.clear();
  const again = await host.vmmount(["umount", session]);
  t.equal(again.code, 0, again.stderr);
  t.equal(lab.traffic.report().methods["ConsolidateVMDisks_Task"], 2);
  await nothingLeft(t, host, lab);
});
