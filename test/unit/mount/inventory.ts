import { hostname } from "node:os";
import t from "tap";
import { findMatches, listPath, listVmSnapshots } from "../../../src/mount/inventory.js";
import { openHypervisor, prepareConnection } from "../../../src/mount/connection.js";
import { StatePaths } from "../../../src/mount/state-paths.js";
import { silentLogger } from "../../../src/log.js";
import { FileJournal } from "../../../src/snapshot/journal.js";
import { describeOwnership, snapshotName } from "../../../src/snapshot/ownership.js";
import { labFor } from "../../fixtures/host/lab-host.js";
import { labConfig } from "../../fixtures/mount/lab-config.js";
import { scratch } from "../../fixtures/scratch.js";

const { signal } = new AbortController();

void t.test("the inventory of a server", async (t) => {
  const lab = await labFor(t);
  const config = labConfig(scratch(t), lab);
  const choice = { credential: { env: {} } };
  const options = { config, choice, logger: silentLogger(), signal };
  const paths = new StatePaths(config.settings);
  const vms = await findMatches("any:", options);
  const vm = vms[0]!;
  t.ok(vms.length > 1);

  await t.test("listPath() lists a level, a VM, or every match", async (t) => {
    const top = await listPath("/", options);
    t.match(top, { kind: "entries", entries: [{ kind: "datacenter" }] });
    t.strictSame(await listPath("lab:/", options), top, "with the server's name before it");
    t.match(await listPath(vm.path, options), { kind: "vm", vm: { identity: vm } });
    t.match(await listPath(`lab:moref:${vm.ref}`, options), { kind: "vm", vm: { identity: vm } });
    const all = await listPath("any:", options);
    t.equal(all.kind === "entries" && all.entries.length, vms.length);
    await t.rejects(listPath("/no/such/place", options), { name: "NotFoundError" });
    await t.rejects(listPath("name:nobody", options), { message: /no VM matches/ });
  });

  await t.test("findMatches() finds, or says that nothing matches", async (t) => {
    t.strictSame(await findMatches(`moref:${vm.ref}`, options), [vm]);
    await t.rejects(findMatches("name:nobody", options), { name: "NotFoundError" });
  });

  await t.test("listVmSnapshots() says whose each is", async (t) => {
    const connection = await prepareConnection(config.servers.get("lab")!, choice);
    await using server = await openHypervisor(connection, silentLogger(), signal);
    const mark = (session: string, host: string) => ({
      name: snapshotName(session),
      description: describeOwnership({ session, version: "1", host, mountPoint: "/m", created: "now" }),
      quiesce: false,
    });
    for (const spec of [
      mark("k3v9q2m7xa", hostname()),
      mark("dead000000", hostname()),
      mark("e15ewhere0", "another"),
      { name: "by hand", description: "", quiesce: false },
    ]) {
      await server.createSnapshot(vm.ref, spec, { signal });
    }
    await using held = await FileJournal.create(paths.journal("k3v9q2m7xa"), "k3v9q2m7xa");
    t.ok(held);
    const listed = await listVmSnapshots(vm.path, paths, options);
    t.strictSame(
      listed.map(({ owner, session, host }) => [owner, session, host]),
      [
        ["mounted", "k3v9q2m7xa", hostname()],
        ["dead session", "dead000000", hostname()],
        ["other host", "e15ewhere0", "another"],
        ["foreign", undefined, undefined],
      ],
    );
    await t.rejects(listVmSnapshots("name:nobody", paths, options), { name: "NotFoundError" });
  });
});
