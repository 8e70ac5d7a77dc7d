import t from "tap";
import { loadConfig } from "../../src/config.js";
import { isContradictory, settingConflicts } from "../../src/setting-conflicts.js";

const { settings } = loadConfig({ file: "/dev/null", env: {}, flags: [] });

void t.test("with hotadd, old mounts and old snapshots are both deleted or both kept", (t) => {
  const mounts = ["fail", "repair", "delete"] as const;
  const snapshots = ["fail", "delete-own", "delete"] as const;
  const refused: string[] = [];
  for (const mount of mounts) {
    for (const snapshot of snapshots) {
      const pair = { "preexisting.mount": mount, "preexisting.snapshot": snapshot };
      if (isContradictory(pair)) refused.push(`${mount} ${snapshot}`);
      const conflicts = (transport: (typeof settings)["mount.transport"]): number =>
        settingConflicts({ ...settings, ...pair, "mount.transport": transport }).length;
      t.equal(conflicts(["nbdssl", "hotadd"]), isContradictory(pair) ? 1 : 0);
      t.equal(conflicts("auto"), 0, "hotadd that nobody named");
      t.equal(conflicts(["san"]), 0);
    }
  }
  t.strictSame(refused, ["fail delete", "repair delete", "delete fail"]);
  t.end();
});

void t.test("the default of nothing contradicts another", (t) => {
  t.strictSame(settingConflicts({ ...settings, "mount.transport": ["hotadd"] }), []);
  t.end();
});
