import t from "tap";
import { errorFacts } from "../../../src/errors.js";
import { connectToPool } from "../../fixtures/xen/connect-to-pool.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";

const { signal } = new AbortController();
const SPEC = { name: "vmmount-0123456789", description: '{"tool":"vmmount"}', quiesce: false };

for (const profile of ["7.1", "8.2", "8.3"] as const) {
  await t.test(`a snapshot comes and goes without a trace, as release ${profile} does it`, async (t) => {
    const pool = await testPool(t, { profile });
    const before = pool.lab.counts();
    {
      await using server = await connectToPool(pool);
      const { uuid } = pool.lab.vm("web01");
      const snapshot = await server.createSnapshot(uuid, SPEC, { signal });
      t.match(snapshot, { name: SPEC.name, description: SPEC.description, depth: 1, lacksDescription: undefined });
      t.strictSame(await server.listSnapshots(uuid, { signal }), [snapshot]);
      const [now, frozen] = [
        await server.describeVm(uuid, { signal }),
        await server.describeVm(uuid, { signal, snapshot: snapshot.ref }),
      ];
      t.strictSame(
        frozen.disks.map(({ key, capacity }) => ({ key, capacity })),
        now.disks.map(({ key, capacity }) => ({ key, capacity })),
      );
      t.notSame(frozen.disks[0]?.uuid, now.disks[0]?.uuid, "what is read is the snapshot's image");
      await server.removeSnapshot(snapshot.ref, { signal });
      t.strictSame(await server.listSnapshots(uuid, { signal }), []);
    }
    t.strictSame(pool.lab.counts(), before);
    t.strictSame(
      pool.lines.filter(({ level }) => level === "error"),
      [],
    );
  });
}

await t.test("a wrong password is final", async (t) => {
  const pool = await testPool(t);
  const error: unknown = await connectToPool(pool, { password: "wrong" }).catch((error: unknown) => error);
  t.match(errorFacts(error), {
    kind: "AuthError",
    retryable: false,
    message: /as "root": the user name or the password/,
  });
});
