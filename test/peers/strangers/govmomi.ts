import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { join } from "node:path";
import t from "tap";
import { z } from "zod";
import { AWKWARD_NAME } from "../../../src/lab/init.js";
import { MIB } from "../../../src/units.js";
import { testLab } from "../../fixtures/lab.js";
import { runStranger } from "../../fixtures/stranger.js";

/** VMware's Go client, which nobody of this project wrote, must agree with the lab. */
const disk = z.object({ key: z.number(), name: z.string(), capacity: z.number(), chain: z.array(z.string()) });
const observations = z.object({
  wrongPassword: z.string(),
  product: z.string(),
  isVC: z.boolean(),
  datacenter: z.string(),
  path: z.string(),
  awkward: z.string(),
  missing: z.string(),
  host: z.boolean(),
  uuid: z.boolean(),
  vmx: z.string(),
  overall: z.string(),
  entities: z.number(),
  disks: z.array(disk),
  snapshotByName: z.boolean(),
  frozen: z.array(disk),
  running: z.array(disk),
  areas: z.number(),
  range: z.object({ status: z.number(), length: z.number(), sha256: z.string() }),
  vmxBytes: z.number(),
  after: z.array(disk),
  powerOn: z.string(),
});

function build(): { readonly program: string } | { readonly missing: string } {
  try {
    return { program: execFileSync(join(import.meta.dirname, "govmomi/build"), { encoding: "utf8" }).trim() };
  } catch (error) {
    return { missing: String(error) };
  }
}

const built = build();
const skip = "missing" in built ? `the govmomi client cannot be built here: ${built.missing}` : false;
await t.test("govmomi", { skip }, async (t) => {
  const { lab } = await testLab(t);
  const before = await lab.vm("web01").readAt(2000, "now", 0, MIB);
  const seen = observations.parse(
    await runStranger("program" in built ? built.program : "", [], {
      url: lab.url,
      user: lab.user,
      password: lab.password,
      certificate: lab.certificatePath,
    }),
  );

  await t.test("login and inventory", (t) => {
    t.match(seen.wrongPassword, /incorrect user name or password/);
    t.ok(seen.isVC);
    t.match(seen.product, /^VMware vCenter Server/);
    t.equal(seen.datacenter, "/dc1");
    t.equal(seen.path, "/dc1/vm/web01");
    t.equal(seen.awkward, AWKWARD_NAME.replaceAll("%", "%25").replaceAll("/", "%2f"));
    t.equal(seen.missing, "vm 'absent' not found");
    t.ok(seen.host);
    t.ok(seen.uuid);
    t.equal(seen.vmx, "[ds1] web01/web01.vmx");
    t.equal(seen.overall, "green");
    // dc1, its four folders, "Test VMs", compute resource, host, pool, network, datastore, two machines.
    t.equal(seen.entities, 13);
    t.match(seen.powerOn, /current state/);
    t.end();
  });

  await t.test("disks, snapshot, files", (t) => {
    const [first] = seen.disks;
    t.strictSame(
      seen.disks.map(({ name }) => name),
      ["disk-1000-0", "disk-1000-1", "disk-1000-2"],
    );
    t.strictSame(seen.frozen, seen.disks);
    t.ok(seen.snapshotByName);
    t.strictSame(seen.running[0]?.chain, ["[ds1] web01/web01-000001.vmdk", "[ds1] web01/web01.vmdk"]);
    t.equal(seen.areas, first?.capacity);
    t.strictSame(seen.range, {
      status: 206,
      length: MIB - 4096,
      sha256: createHash("sha256").update(before.subarray(4096)).digest("hex"),
    });
    t.ok(seen.vmxBytes > 100);
    t.strictSame(seen.after, seen.disks);
    t.end();
  });
});
