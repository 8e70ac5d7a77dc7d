import t from "tap";
import type { VmDescription } from "../../../src/hypervisor.js";
import { asItLiesThere } from "../../../src/mount/frozen.js";
import { memoryVm } from "../../fixtures/memory-hypervisor.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";

function vm(own: Partial<VmDescription>, powerState: "on" | "off" | "suspended" = "off"): VmDescription {
  const { description } = memoryVm();
  return { ...description, identity: { ...description.identity, powerState }, ...own };
}

void t.test("asItLiesThere() says how much the disks are worth", (t) => {
  const { logger, lines } = recordingLogger();
  t.match(asItLiesThere(vm({ runningSigns: [] }), logger), {
    consistency: "offline",
    snapshot: { ref: undefined, name: undefined },
  });
  t.equal(asItLiesThere(vm({}, "suspended"), logger).consistency, "crash");
  t.strictSame(lines, [], "without a warning");
  t.equal(asItLiesThere(vm({ runningSigns: ["a", "b"] }, "on"), logger).consistency, "inconsistent");
  t.match(lines, [{ level: "warn", message: /RUNNING: a; b\./ }]);
  t.end();
});
