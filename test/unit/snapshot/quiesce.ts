import t from "tap";
import { planQuiesce } from "../../../src/snapshot/quiesce.js";
import { memoryVm } from "../../fixtures/memory-hypervisor.js";

type Case = [
  policy: "auto" | "require" | "off",
  power: "on" | "off" | "suspended",
  tools: boolean,
  plan: ReturnType<typeof planQuiesce>,
];
const OFFLINE = { ask: "plain", consistency: "offline", warning: undefined } as const;
const CRASH = { ask: "plain", consistency: "crash", warning: undefined } as const;
const NO_TOOLS = "its guest tools (VMware Tools or open-vm-tools) are not running";
const CASES: Case[] = [
  ["auto", "on", true, { ask: "quiesced", onFailure: "crash" }],
  ["require", "on", true, { ask: "quiesced", onFailure: "fail" }],
  ["off", "on", true, CRASH],
  ["auto", "on", false, { ...CRASH, warning: NO_TOOLS }],
  ["require", "on", false, { ask: "refuse", reason: NO_TOOLS }],
  ["off", "on", false, CRASH],
  ["auto", "suspended", true, { ...CRASH, warning: "it is suspended" }],
  ["require", "suspended", false, { ask: "refuse", reason: "it is suspended" }],
  ["off", "suspended", true, CRASH],
  ["auto", "off", false, OFFLINE],
  ["require", "off", false, OFFLINE],
  ["off", "off", true, OFFLINE],
];

void t.test("planQuiesce() asks, warns or refuses", (t) => {
  for (const [policy, powerState, toolsRunning, plan] of CASES) {
    const { description } = memoryVm({ powerState }, { toolsRunning });
    t.strictSame(
      planQuiesce(policy, description),
      plan,
      `${policy}, ${powerState}, ${toolsRunning ? "tools" : "no tools"}`,
    );
  }
  t.end();
});

void t.test("a server that cannot ask any guest is as good as a guest that cannot be asked", (t) => {
  const { description } = memoryVm({ powerState: "on" }, { quiesceObstacle: "this pool cannot" });
  t.strictSame(planQuiesce("auto", description), { ...CRASH, warning: "this pool cannot" });
  t.strictSame(planQuiesce("require", description), { ask: "refuse", reason: "this pool cannot" });
  t.end();
});

void t.test("a guest that is shut down or stands still is not asked", (t) => {
  const { description } = memoryVm({ powerState: "on" }, { toolsRunning: true });
  t.strictSame(planQuiesce("require", description, "offline"), OFFLINE, "shut down for the snapshot");
  t.strictSame(planQuiesce("auto", description, "memory"), CRASH, "no warning: it was asked for");
  t.match(planQuiesce("require", description, "memory"), { ask: "refuse", reason: /stops it instead/ });
  const { description: suspended } = memoryVm({ powerState: "suspended" }, {});
  t.match(planQuiesce("auto", suspended, "offline"), { consistency: "crash" }, "nobody can shut it down");
  t.end();
});
