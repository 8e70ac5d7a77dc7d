import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { z } from "zod";
import { AWKWARD_NAME } from "../../../src/lab/init.js";
import { MIB } from "../../../src/units.js";
import { testLab } from "../../fixtures/lab.js";
import { runStranger } from "../../fixtures/stranger.js";

/** VMware's own Python client, which nobody of this project wrote, must agree with the lab. */
const PYTHON = "/usr/bin/python3";
const CLIENT = join(import.meta.dirname, "pyvmomi.py");
const isThere = existsSync(PYTHON) && existsSync("/usr/lib/python3/dist-packages/pyVmomi");

const fault = z.object({ type: z.string(), message: z.string() }).nullable();
const disk = z.object({
  key: z.number(),
  label: z.string(),
  controller: z.number(),
  unit: z.number(),
  capacity: z.number(),
  mode: z.string(),
  thin: z.boolean(),
  changeId: z.boolean(),
  backing: z.string(),
  chain: z.array(z.string()),
});
const download = z.object({ status: z.number(), sha256: z.string().optional() });
const observations = z.object({
  wrongPassword: fault,
  product: z.string(),
  user: z.string(),
  tree: z.array(z.array(z.string())),
  found: z.record(z.string(), z.string().nullable()),
  awkward: z.object({ name: z.string(), power: z.string(), disks: z.array(disk) }),
  list: z.object({ machines: z.array(z.record(z.string(), z.string())), pages: z.number() }),
  disks: z.array(disk),
  locked: download,
  states: z.array(z.string()),
  snapshot: z.object({
    tree: z.tuple([z.string(), z.boolean()]),
    isCurrent: z.boolean(),
    frozen: z.array(disk),
    running: z.array(disk),
  }),
  areas: z.number(),
  frozenFile: download,
  runningFile: download,
  anonymous: download,
  removal: z.string(),
  after: z.object({ snapshot: z.null(), disks: z.array(disk) }),
  gone: fault,
  loggedOut: fault,
});

await t.test("pyvmomi", { skip: isThere ? false : "python3-pyvmomi is not installed" }, async (t) => {
  const { lab } = await testLab(t);
  const web01 = lab.vm("web01");
  const before = await web01.readAt(2000, "now", 0, MIB);
  const seen = observations.parse(
    await runStranger(PYTHON, [CLIENT], {
      url: lab.url,
      user: lab.user,
      password: lab.password,
      certificate: lab.certificatePath,
      awkward: AWKWARD_NAME.replaceAll("%", "%25").replaceAll("/", "%2f"),
    }),
  );

  await t.test("login and inventory", (t) => {
    t.equal(seen.wrongPassword?.type, "vim.fault.InvalidLogin");
    t.match(seen.wrongPassword?.message, /incorrect user name or password/);
    t.match(seen.product, /^VMware vCenter Server 8\.0\.2/);
    t.equal(seen.user, lab.user);
    t.strictSame(seen.tree, [["dc1"], ["Test VMs", "web01"]]);
    const { nothing, ...found } = seen.found;
    t.equal(nothing, null);
    t.ok(Object.values(found).every((ref) => ref === web01.ref));
    t.strictSame(
      seen.list.machines.map((machine) => machine["runtime.powerState"]),
      ["poweredOff", "poweredOn"],
    );
    t.equal(seen.list.pages, 2, "one object per page");
    t.equal(seen.awkward.power, "poweredOff");
    t.equal(seen.loggedOut?.type, "vim.fault.NotAuthenticated");
    t.end();
  });

  await t.test("disks and snapshot", (t) => {
    t.strictSame(
      seen.disks.map(({ key, unit, mode, chain }) => ({ key, unit, mode, chain })),
      [
        { key: 2000, unit: 0, mode: "persistent", chain: ["[ds1] web01/web01.vmdk"] },
        { key: 2001, unit: 1, mode: "persistent", chain: ["[ds1] web01/web01_1.vmdk"] },
        { key: 2002, unit: 2, mode: "independent_persistent", chain: ["[ds1] web01/web01_2.vmdk"] },
      ],
    );
    t.ok(seen.disks.every(({ backing }) => backing === "vim.vm.device.VirtualDisk.FlatVer2BackingInfo"));
    t.equal(seen.states.at(-1), "success");
    t.strictSame(seen.snapshot.tree, ["stranger", true]);
    t.ok(seen.snapshot.isCurrent);
    t.strictSame(
      seen.snapshot.frozen.map(({ chain, changeId }) => ({ chain, changeId })),
      [
        { chain: ["[ds1] web01/web01.vmdk"], changeId: true },
        { chain: ["[ds1] web01/web01_1.vmdk"], changeId: true },
        { chain: ["[ds1] web01/web01_2.vmdk"], changeId: false },
      ],
    );
    t.strictSame(
      seen.snapshot.running.map(({ chain }) => chain),
      [
        ["[ds1] web01/web01-000001.vmdk", "[ds1] web01/web01.vmdk"],
        ["[ds1] web01/web01_1-000001.vmdk", "[ds1] web01/web01_1.vmdk"],
        ["[ds1] web01/web01_2.vmdk"],
      ],
    );
    t.equal(seen.areas, seen.disks[0]?.capacity);
    t.equal(seen.removal, "success");
    t.strictSame(
      seen.after.disks,
      seen.disks.map((one) => ({ ...one })),
    );
    t.equal(seen.gone?.type, "vmodl.fault.ManagedObjectNotFound");
    t.end();
  });

  await t.test("datastore files", (t) => {
    t.equal(seen.locked.status, 500, "a running machine holds its disk");
    t.equal(seen.runningFile.status, 500, "and its newest delta");
    t.equal(seen.anonymous.status, 401);
    t.strictSame(seen.frozenFile, { status: 206, sha256: createHash("sha256").update(before).digest("hex") });
    t.end();
  });
});
