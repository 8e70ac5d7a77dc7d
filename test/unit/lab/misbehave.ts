import t from "tap";
import { faultOf, LabClient } from "../../fixtures/lab-client.js";
import { until } from "../../fixtures/host/until.js";
import { testLab } from "../../fixtures/lab.js";

const { lab } = await testLab(t);
const web01 = lab.vm("web01");
const json = { "content-type": "application/json" };
const now = (client: LabClient) => client.call("CurrentTime", "ServiceInstance", "ServiceInstance");

await t.test("faults, statuses, delays, expired sessions", async (t) => {
  const client = await LabClient.loggedIn(lab);
  const once = { match: { method: "CurrentTime" }, count: 1 };
  lab.rules.add({ ...once, action: { kind: "fault", name: "NoPermission", fields: { privilegeId: "System.View" } } });
  const noPermission = await now(client);
  t.equal(faultOf(noPermission), "NoPermission");
  t.match(noPermission.text, `<object type="ServiceInstance">ServiceInstance</object><privilegeId>System.View<`);
  lab.rules.add({ ...once, action: { kind: "fault", name: "NoSuchFault" } });
  t.match((await now(client)).text, "which the lab does not know");
  lab.rules.add({ ...once, action: { kind: "fault", name: "RestrictedVersion" } });
  const restricted = await now(client);
  t.equal(faultOf(restricted), "RestrictedVersion");
  t.match(restricted.text, "Current license or ESXi version prohibits execution");
  lab.rules.add({ ...once, action: { kind: "status", status: 503 } });
  const busy = await client.envelope(
    `<CurrentTime xmlns="urn:vim25"><_this type="ServiceInstance">ServiceInstance</_this></CurrentTime>`,
  );
  t.equal(busy.status, 503);
  t.match(busy.text, "<html>");
  lab.rules.add({ ...once, action: { kind: "delay", ms: 30 } });
  const began = performance.now();
  t.equal((await now(client)).status, 200);
  t.ok(performance.now() - began >= 29);
  lab.rules.add({ ...once, action: { kind: "expireSessions" } });
  t.equal(faultOf(await now(client)), "NotAuthenticated");
});

await t.test("a dropped connection, before and after the effect; one that hangs", async (t) => {
  const client = await LabClient.loggedIn(lab);
  const create = `<name>lost</name><memory>false</memory><quiesce>false</quiesce>`;
  const rule = { match: { method: "CreateSnapshot_Task", object: web01.ref }, count: 1 };
  lab.rules.add({ ...rule, action: { kind: "drop", when: "before" } });
  await t.rejects(client.call("CreateSnapshot_Task", "VirtualMachine", web01.ref, create));
  t.strictSame(web01.snapshots, []);
  lab.rules.add({ ...rule, action: { kind: "drop", when: "after" } });
  await t.rejects(client.call("CreateSnapshot_Task", "VirtualMachine", web01.ref, create));
  while (!(await client.read("VirtualMachine", web01.ref, "snapshot")).text.includes("lost"));
  t.equal(web01.snapshots.length, 1, "the snapshot was made although the answer was lost");
  lab.rules.add({ match: { path: "/folder" }, count: 1, action: { kind: "hang" } });
  const hanging = client.http("/folder").then(
    () => "answered",
    () => "cut",
  );
  const first = await Promise.race([hanging, now(client).then(() => "other")]);
  t.equal(first, "other", "others are served meanwhile");
  await lab.close();
  t.equal(await hanging, "cut");
});

await t.test("a request is held, before its effect or after it, until it is let go or its client leaves", async (t) => {
  const { lab } = await testLab(t);
  const client = new LabClient(lab);
  const { signal } = new AbortController();
  const { holds } = lab.rules;
  const sessions = (): number => lab.traffic.report().sessions;
  const acted: string[] = [];
  const tell = ({ method }: { method: string }): void => {
    acted.push(method);
  };
  lab.rules.add({ match: { method: "Login" }, count: 1, action: { kind: "hold", when: "before" } }, tell);
  const early = client.login();
  await holds.someone(signal);
  t.strictSame([holds.count, sessions(), acted], [1, 0, ["Login"]], "it has had no effect");
  t.equal(holds.letGo(), 1);
  t.equal((await early).status, 200);
  client.cookie = undefined;
  lab.rules.add({ match: { method: "Login" }, count: 1, action: { kind: "hold", when: "after" } });
  const late = client.login();
  await holds.someone(signal);
  t.equal(sessions(), 2, "it has had its effect");
  t.equal((await client.http("/lab/held")).body.toString(), '{"held":1}\n', "and no answer");
  t.equal((await client.http("/lab/held", { method: "DELETE" })).body.toString(), '{"letGo":1}\n');
  t.equal((await late).status, 200);
  lab.rules.add({ match: { path: "/folder" }, count: 1, action: { kind: "hold", when: "before" } });
  const leaving = new AbortController();
  const left = t.rejects(client.http("/folder", { signal: leaving.signal }));
  await holds.someone(signal);
  leaving.abort();
  await left;
  await until("the lab notices", () => holds.count === 0);
});

await t.test("control over HTTP", async (t) => {
  const { lab } = await testLab(t);
  const client = await LabClient.loggedIn(lab);
  const post = async (path: string, body: unknown) => {
    const answer = await client.http(path, { method: "POST", headers: json, body: JSON.stringify(body) });
    return { status: answer.status, body: JSON.parse(answer.body.toString()) as Record<string, unknown> };
  };
  const vms = JSON.parse((await client.http("/lab/vms")).body.toString()) as { name: string }[];
  t.ok(vms.some((vm) => vm.name === "web01"));
  t.strictSame(await post("/lab/rules", { rules: [{ action: { kind: "status", status: 502 } }] }), {
    status: 200,
    body: {},
  });
  t.equal((await now(client)).status, 502);
  t.equal((await post("/lab/rules", { rules: [{ action: { kind: "nonsense" } }] })).status, 400);
  await post("/lab/rules", {});
  t.equal((await now(client)).status, 200);
  const hash = { do: "hash", machine: "web01", disk: 2001, when: "now" };
  const { body: before } = await post("/lab/guest", hash);
  const write = {
    do: "write",
    machine: "web01",
    disk: 2001,
    offset: 512,
    base64: Buffer.alloc(512, 3).toString("base64"),
  };
  t.equal((await post("/lab/guest", write)).status, 200);
  t.notSame((await post("/lab/guest", hash)).body, before);
  t.equal((await post("/lab/guest", { do: "start", machine: "web01", disk: 2001 })).status, 200);
  t.ok(Number((await post("/lab/guest", { do: "stop", machine: "web01" })).body["writes"]) >= 1);
  t.equal((await post("/lab/guest", { do: "stop", machine: "absent" })).status, 404);
  t.equal((await post("/lab/guest", { ...hash, disk: 1 })).status, 400);
  t.equal((await client.http("/lab/rules", { method: "POST", body: "{}" })).status, 400, "not marked as JSON");
  const traffic = JSON.parse((await client.http("/lab/traffic")).body.toString()) as Record<string, unknown>;
  t.match(traffic, { methods: { CurrentTime: 2, Login: 1 }, logins: 1, sessions: 1 });
  await client.http("/lab/traffic", { method: "DELETE" });
  t.strictSame(lab.traffic.report().methods, {});
});
