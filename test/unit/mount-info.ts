import t from "tap";
import { parseMountInfo, readMountInfo, topMountAt } from "../../src/mount-info.js";

const TEXT = `22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 22 0:53 / /mnt/with\\040space ro,nosuid,nodev,noexec shared:9 master:2 - fuse.vmmount vm\\0401\\134x ro,user_id=0
41 22 0:54 / /mnt/with\\040space rw - tmpfs none rw
broken line
`;

void t.test("mounts with their device, path, type and source", (t) => {
  const mounts = parseMountInfo(TEXT);
  t.strictSame(mounts[1], {
    device: "0:53",
    mountPoint: "/mnt/with space",
    type: "fuse.vmmount",
    source: "vm 1\\x",
    options: ["ro", "user_id=0"],
  });
  t.equal(mounts.length, 3);
  t.equal(topMountAt(mounts, "/mnt/with space")?.device, "0:54", "the later one lies on top");
  t.equal(topMountAt(mounts, "/mnt"), undefined);
  t.end();
});

void t.test("this machine's own table has a root", async (t) => {
  t.ok(topMountAt(await readMountInfo(), "/"));
});
