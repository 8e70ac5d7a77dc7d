import { chmodSync, chownSync, mkdirSync, rmSync } from "node:fs";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { controlEndpoint, listeningPaths } from "../../../src/mount/control-endpoint.js";
import { StatePaths } from "../../../src/mount/state-paths.js";
import { configIn } from "../../fixtures/mount/config.js";
import { scratch } from "../../fixtures/scratch.js";

const ID = "e1dp0int00";
const uid = process.geteuid?.() ?? 0;

async function listen(t: Test, path: string): Promise<void> {
  const server = createServer().listen(path);
  await once(server, "listening");
  t.teardown(() => server.close());
}

void t.test("a daemon is found where it listens, where nobody else could have made the socket", async (t) => {
  const paths = new StatePaths(configIn(scratch(t)).settings);
  const usual = { path: paths.controlSocket(ID), owner: uid };
  const folder = join(scratch(t), "elsewhere");
  mkdirSync(folder, { mode: 0o700 });
  const socket = join(folder, `${ID}.sock`);
  t.strictSame(await controlEndpoint(ID, uid, paths), usual, "nobody listens");
  await listen(t, join(folder, "0ther00000.sock"));
  t.strictSame(await controlEndpoint(ID, uid, paths), usual, "the socket of another session");
  await listen(t, socket);
  t.strictSame(await controlEndpoint(ID, uid, paths), { path: socket, owner: uid });
  t.strictSame(await controlEndpoint(ID, uid + 1, paths), usual, "the daemon is somebody else's");
  chmodSync(folder, 0o777);
  t.strictSame(await controlEndpoint(ID, uid, paths), usual, "everybody may write there");
  if (uid === 0) {
    chmodSync(folder, 0o755);
    chownSync(folder, 65534, 65534);
    t.strictSame(await controlEndpoint(ID, uid, paths), usual, "the folder of somebody else");
    t.strictSame(await controlEndpoint(ID, 65534, paths), { path: socket, owner: 65534 }, "root may ask any daemon");
  }
  rmSync(folder, { recursive: true });
  t.strictSame(await controlEndpoint(ID, uid, paths), usual, "it is gone, although it listens");
});

void t.test("only what listens, and has a path, counts", (t) => {
  const table = `Num       RefCount Protocol Flags    Type St Inode Path
ffff8881: 00000002 00000000 00010000 0001 01 17043 /run/vmm ount/a.sock
ffff8882: 00000003 00000000 00000000 0001 03 17044 /run/connected.sock
ffff8883: 00000002 00000000 00010000 0001 01 17045 @abstract
ffff8884: 00000002 00000000 00010000 0001 01 1704
0000000000000000: 00000002 00000000 00010000 0001 01     7 /run/b.sock
`;
  t.strictSame(listeningPaths(table), ["/run/vmm ount/a.sock", "/run/b.sock"]);
  t.end();
});
