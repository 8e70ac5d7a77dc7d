import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { testPool } from "../../fixtures/xen/lab-pool.js";

const { lab } = await testPool(t, { profile: "8.3" });
const password = (await readFile(lab.passwordPath, "utf8")).trim();

/** docs/OPERATIONS.md, "Reading the log", over a pool. */
const LEVELS = [
  { level: 3, says: [/Created snapshot/], hides: [/debug: /] },
  { level: 4, says: [/vmmount: Creating snapshot/], hides: [/debug: /] },
  {
    level: 5,
    says: [
      /debug: VM\.snapshot ok \{.*"ms":\d+,"bytes":\d+|debug: Async\.VM\.snapshot ok \{.*"ms":\d+,"bytes":\d+/,
      /debug: GET \/export_raw_vdi 200 \{.*"ms":\d+/,
      /debug: Reading "System".* over NBD/,
    ],
    hides: [/trace: /],
  },
  {
    level: 6,
    says: [
      /trace: session\.login_with_password sent \{"xml":"\[secret\]"/,
      /trace: VM\.get_record received \{"xml":"<\?xml/,
    ],
    hides: [],
  },
] as const;

void t.test("each level adds what it should, and none tells the password or a session", async (t) => {
  for (const { level, says, hides } of LEVELS) {
    const host = await ProxyHost.make(t, lab);
    const sessions = new Set<string>();
    const stop = lab.rules.watch(() => {
      for (const ref of lab.pool.database.refs("session")) sessions.add(ref);
    });
    const mounted = await host.vmmount(["mount", "/web01", host.mountPoint, "-L", String(level)]);
    t.equal(mounted.code, 0, mounted.stderr);
    for (const one of says) t.match(mounted.stderr, one, `level ${level}`);
    for (const one of hides) t.notMatch(mounted.stderr, one, `level ${level}`);
    const unmounted = await host.vmmount(["umount", host.mountPoint, "-L", String(level)]);
    t.equal(unmounted.code, 0, unmounted.stderr);
    stop();
    const folder = join(host.stateDir, "logs");
    const logs = await Promise.all((await readdir(folder)).map((name) => readFile(join(folder, name), "utf8")));
    const all = [mounted.stdout, mounted.stderr, unmounted.stdout, unmounted.stderr, ...logs].join("\n");
    t.notOk(all.includes(password), `level ${level} does not tell the password`);
    t.ok(sessions.size > 0, "sessions were seen");
    for (const session of sessions) t.notOk(all.includes(session), `level ${level} does not tell a session`);
  }
});
