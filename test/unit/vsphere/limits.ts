import t from "tap";
import { VSPHERE_LIMITS, vsphereLimits } from "../../../src/vsphere/limits.js";
import { XEN_LIMITS, xenLimits } from "../../../src/xen/xapi/limits.js";

void t.test("the timeout of a server sets what waits for a call, in proportion", (t) => {
  t.strictSame(vsphereLimits(), VSPHERE_LIMITS);
  t.strictSame(vsphereLimits(VSPHERE_LIMITS.callMs), VSPHERE_LIMITS);
  const short = { callMs: 2_000, waitSeconds: 2, waitMarginMs: 500, dataStallMs: 1_000, logoutMs: 2_000 };
  t.strictSame(vsphereLimits(2_000), { ...VSPHERE_LIMITS, ...short });
  t.equal(vsphereLimits(600_000).logoutMs, VSPHERE_LIMITS.logoutMs, "a courtesy stays short");
  t.end();
});

void t.test("the same of a pool, where the held call lasts no whole number of seconds", (t) => {
  t.match(xenLimits(), { ...XEN_LIMITS, waitSeconds: Number });
  t.equal(xenLimits().waitSeconds.toFixed(1), XEN_LIMITS.waitSeconds.toFixed(1));
  t.match(xenLimits(2_000), {
    callMs: 2_000,
    openMs: 4_000,
    streamHeadMs: 4_000,
    streamStallMs: 4_000,
    taskEndMs: 2_000,
  });
  for (const timeoutMs of [1_000, 2_000, 60_000, 90_000]) t.notOk(Number.isInteger(xenLimits(timeoutMs).waitSeconds));
  t.end();
});
