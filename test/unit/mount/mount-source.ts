import t from "tap";
import { mountSource, sessionOfMount } from "../../../src/mount/mount-source.js";

void t.test("sessionOfMount() knows our mounts from others", (t) => {
  const type = "fuse.vmmount";
  t.equal(sessionOfMount({ type, source: mountSource("k3v9q2m7xa") }), "k3v9q2m7xa");
  t.equal(sessionOfMount({ type, source: "sshfs:x" }), undefined);
  t.equal(sessionOfMount({ type: "fuse.sshfs", source: mountSource("k3v9q2m7xa") }), undefined);
  t.end();
});
