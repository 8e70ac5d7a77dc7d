import t from "tap";
import { ConfigError } from "../../../src/errors.js";
import { Rules, type RulesInput } from "../../../src/lab/rules.js";

const call = { method: "CurrentTime", path: "/sdk", objects: ["vm-1", "web01"] };

await t.test("a rule fires where it matches, after what it skips, as often as it says", (t) => {
  const rules = new Rules();
  const remove = rules.add({ match: { method: "CurrentTime" }, skip: 1, count: 2, action: { kind: "hang" } });
  rules.add({ match: { object: "web02" }, action: { kind: "drop", when: "before" } });
  rules.add({ match: { path: "/folder" }, action: { kind: "drop", when: "before" } });
  t.strictSame(
    Array.from({ length: 5 }, () => rules.actionsFor(call).length),
    [0, 1, 1, 0, 0],
  );
  t.equal(rules.actionsFor({ ...call, method: "Login" }).length, 0);
  t.equal(rules.actionsFor({ ...call, objects: ["web02"] }).length, 1);
  t.equal(remove(), 2);
  t.end();
});

await t.test("probability is drawn per call", (t) => {
  const draws = [0.1, 0.9, 0.4];
  const rules = new Rules(() => draws.shift() ?? 1);
  rules.add({ probability: 0.5, action: { kind: "delay", ms: 1 } });
  t.strictSame(
    Array.from({ length: 3 }, () => rules.actionsFor(call).length),
    [1, 0, 1],
  );
  t.end();
});

await t.test("a document replaces rules and changes settings", (t) => {
  const rules = new Rules();
  rules.add({ action: { kind: "hang" } });
  rules.load({ settings: { pageSize: 3 }, rules: [{ action: { kind: "fault", name: "NoPermission" } }] });
  t.strictSame(rules.actionsFor(call), [
    { kind: "fault", name: "NoPermission", fields: {}, parameters: [], where: "call" },
  ]);
  t.equal(rules.settings.pageSize, 3);
  t.equal(rules.settings.sessionIdleMs, 1_800_000);
  rules.clear();
  t.strictSame(rules.actionsFor(call), []);
  t.throws(() => {
    rules.load({ rules: [{ action: { kind: "explode" } }] } as unknown as RulesInput);
  }, ConfigError);
  t.end();
});

await t.test(
  "what a call is about tells apart what one method is used for; who watches hears of every request",
  (t) => {
    const rules = new Rules();
    const heard: string[] = [];
    const stop = rules.watch(({ method, about = "" }) => heard.push(`${method} ${about}`));
    rules.add({ match: { method: "RetrievePropertiesEx", about: "Task.info" }, action: { kind: "hang" } });
    const asked = (about: string): number =>
      rules.actionsFor({ ...call, method: "RetrievePropertiesEx", about }).length;
    t.strictSame([asked("Task.info"), asked("Task.info Task.name"), rules.actionsFor(call).length], [1, 0, 0]);
    stop();
    asked("Task.info");
    t.strictSame(heard, ["RetrievePropertiesEx Task.info", "RetrievePropertiesEx Task.info Task.name", "CurrentTime "]);
    t.end();
  },
);
