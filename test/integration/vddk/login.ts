import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import t from "tap";
import { AuthError } from "../../../src/errors.js";
import type { SessionStatus } from "../../../src/mount/control-protocol.js";
import { bytes } from "../../../src/units.js";
import { labFor } from "../../fixtures/host/lab-host.js";
import { memoryHolds } from "../../fixtures/host/process-memory.js";
import { NOTHING_LEFT, ProxyHost } from "../../fixtures/host/proxy-host.js";
import { sha256 } from "../../fixtures/host/tree-facts.js";
import { failureOf } from "../../fixtures/snapshot-session.js";
import { LibraryService, LOGIN } from "../../fixtures/vddk/library-service.js";
import { NOTHING_HELD, StandIn } from "../../fixtures/vddk/stand-in.js";

const COOKIE = "52c6aef01a2b3c4d5e6f708192a3b4c5";
const { signal } = new AbortController();
const hash = (text: string): string => createHash("sha256").update(text).digest("hex");
const hashOfPassword = `password_sha256=${hash(LOGIN.password)}`;
const SECTORS = new Uint8Array(512_000).fill(7);

/** How the library was let in, connection by connection. */
function logins(events: readonly string[]): string[] {
  return events.filter((line) => line.startsWith("connect ")).map((line) => line.split(" ")[2]!);
}

void t.test(
  "a session that ends is followed by the next one, and by the password where that is not taken",
  async (t) => {
    let cookie = COOKIE;
    let asked = 0;
    const at = await LibraryService.start(t, {
      rules: [`cookie_sha256=${hash(COOKIE)}`, "password_sha256=00", "secrets=logged"],
      sessionCookie: () => {
        asked++;
        return cookie === "" ? Promise.reject(new AuthError("the account is locked")) : Promise.resolve(cookie);
      },
    });
    const { request } = await at.disk("d", SECTORS);
    const { source } = await at.service.open(request, { signal, otherwise: "nothing" });
    const sector = new Uint8Array(512);
    const read = (): Promise<void> => source.read(sector, bytes(0), { signal });
    const readInTheEnd = async (): Promise<void> => {
      for (const end = Date.now() + 10_000; ;) {
        const isRead = await read().then(
          () => true,
          () => false,
        );
        if (isRead) return;
        if (Date.now() > end) throw new Error("the disk was not opened again");
        await sleep(20);
      }
    };
    await at.service.access("prepare", "vmmount-x", signal);
    await read();
    t.same(logins(await at.rules.events()), ["session"], "the password was not needed, and would have been refused");
    t.match(at.log(), /VDDK logs in with the session that there is/);

    // The server has ended it, and the line is lost.
    cookie = "52another0session0of0the0same0login";
    await at.rules.set([`cookie_sha256=${hash(cookie)}`, "password_sha256=00", "fail_read=14011@1"]);
    await failureOf(read());
    await readInTheEnd();
    t.same(logins(await at.rules.events()), ["session", "session"]);
    t.match(at.log(), /with another session from now on: .*VDDK error 3050/);

    // The server says that it goes on, and the library is not let in with it.
    await at.rules.set(["cookie_sha256=00", hashOfPassword, "fail_read=14011@1"]);
    await failureOf(read());
    await readInTheEnd();
    t.same(logins(await at.rules.events()), ["session", "session", "password"]);
    t.match(at.log(), /with the password from now on, and not with the session: .*VDDK error 3050/);
    await at.service.access("end", "vmmount-x", signal);
    t.equal(asked, 3);
    t.notMatch(at.log(), new RegExp(`${COOKIE}|${cookie}|${LOGIN.password}`), "no secret is logged");
  },
);

void t.test("a login that the server refuses is not repeated with the password", async (t) => {
  let isLocked = false;
  const at = await LibraryService.start(t, {
    rules: [`cookie_sha256=${hash(COOKIE)}`, hashOfPassword],
    sessionCookie: () => (isLocked ? Promise.reject(new AuthError("the account is locked")) : Promise.resolve(COOKIE)),
  });
  const { request } = await at.disk("d", SECTORS);
  await at.service.open(request, { signal, otherwise: "nothing" });
  isLocked = true;
  await at.rules.set(["cookie_sha256=00", hashOfPassword]);
  const two = failureOf(at.service.open({ ...request, name: "two", mode: "nbd" }, { signal, otherwise: "nothing" }));
  t.match(await two, { message: /user or password is wrong/ });
  t.match(at.log(), /The session has ended: the account is locked/);
  t.same(logins(await at.rules.events()), ["session"]);
});

for (const [name, rule, reason] of [
  ["a server that does not know it", "cookie_sha256=00", /VDDK error 3050/],
  ["a library that does not know this kind of login", "refuse_session=6", /VDDK error 6/],
  ["a library that does not say why", "fail_open=1@1", /VDDK error 1/],
] as const) {
  void t.test(`a session that does not let the library in is no obstacle: ${name}`, async (t) => {
    const at = await LibraryService.start(t, {
      rules: [rule, hashOfPassword],
      sessionCookie: () => Promise.resolve(COOKIE),
    });
    const { request } = await at.disk("d", SECTORS);
    const { source } = await at.service.open(request, { signal, otherwise: "nothing" });
    await source.read(new Uint8Array(512), bytes(0), { signal });
    t.match(at.log(), /with the password from now on/);
    t.match(at.log(), reason);
    t.equal(logins(await at.rules.events()).at(-1), "password");
  });
}

void t.test("a library that dies of a session is started again with the password", async (t) => {
  const at = await LibraryService.start(t, { rules: [hashOfPassword], sessionCookie: () => Promise.resolve(COOKIE) });
  process.kill(at.service.pid!, "SIGKILL");
  while (!/serves 0 disks again/.test(at.log())) await sleep(20);
  const { request } = await at.disk("d", SECTORS);
  await at.service.open(request, { signal, otherwise: "nothing" });
  t.same(logins(await at.rules.events()), ["password"]);
  t.match(at.log(), /and not with the session: the library's process ended/);
});

void t.test(
  "one session on the server for a whole mount; when it ends, another one, and the copy is whole",
  async (t) => {
    const lab = await labFor(t);
    const cookies = new Set<string>();
    lab.watchSessions((now) => {
      for (const cookie of now) cookies.add(cookie);
    });
    const host = await ProxyHost.make(t, lab);
    const standIn = await StandIn.make(t, lab);
    await standIn.set({ secrets: "logged" });
    const env = { ...standIn.env, VMMOUNT_VDDK_LIBDIR: standIn.libdir };
    const args = ["mount", "/dc1/web01", host.mountPoint, "--transport", "nbdssl", "--json", "-vvv"];
    const mounted = await host.vmmount(args, { env });
    t.equal(mounted.code, 0, mounted.stderr);
    const status = JSON.parse(mounted.stdout) as SessionStatus;
    t.equal(lab.traffic.report().sessions, 1);
    const [library] = (await host.daemons()).filter((pid) => pid !== status.pid);
    t.equal(await memoryHolds(status.pid, lab.password), true, "who logs in knows the password");
    t.equal(await memoryHolds(library!, lab.password), false, "the library's process does not");

    lab.expireSessions();
    await standIn.set({ session_expired_after: 5 });
    const vm = lab.vm("web01");
    const sum = await sha256(join(host.mountPoint, "scsi0-0-flat.vmdk"));
    t.equal(sum, await vm.hashDisk(vm.disks[0]!.key, vm.snapshots[0]!.ref), "the copy is equal");
    t.same([...new Set(logins(await standIn.events()))], ["session"]);
    t.equal(lab.traffic.report().sessions, 1);
    t.equal(cookies.size, 2);

    const log = await readFile(status.log, "utf8");
    t.match(log, /VDDK logs in with the session that there is/);
    t.match(log, /VDDK logs in with another session from now on/);
    t.match(log, /VDDK: Connect: once more, it is \[redacted\]/, "what the library says of it is taken out");
    const seen: string[] = [log, mounted.stderr];
    for (const pid of await host.daemons()) {
      for (const file of ["cmdline", "environ"]) seen.push(await readFile(`/proc/${pid}/${file}`, "utf8"));
    }
    for (const secret of [lab.password, ...cookies]) t.notOk(seen.some((text) => text.includes(secret)));
    const umount = await host.vmmount(["umount", host.mountPoint]);
    t.equal(umount.code, 0, umount.stderr);
    t.same(vm.snapshots, []);
    t.same(await host.leftovers(), NOTHING_LEFT);
    t.same(await standIn.left(), NOTHING_HELD);
    t.equal(lab.traffic.report().sessions, 0);
  },
);
