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
