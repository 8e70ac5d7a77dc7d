import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { DEVICE_READERS, readRequests } from "../../../../src/fs/fuse/device.js";

// The real device is in test/integration/fuse; a plain file and a directory show what happens when things go wrong.

void t.test("a failure in a handler ends every loop, reports each at once, and comes out in the end", async (t) => {
  const fd = openSync(join(t.testdir({ file: "request" }), "file"), "r");
  t.teardown(() => {
    closeSync(fd);
  });
  let failures = 0;
  const seen: number[] = [];
  const reading = readRequests(fd, {
    request: (message) => {
      seen.push(message.length);
      if (message.length === 0) throw new Error("no more");
    },
    hungUp: () => false,
    failed: () => {
      failures++;
    },
  });
  await t.rejects(reading, new Error("no more"));
  t.equal(failures, DEVICE_READERS);
  t.ok(seen.includes(7));
});

void t.test("an unknown error of the device is a failure of the driver", async (t) => {
  const fd = openSync(t.testdir({}), "r");
  t.teardown(() => {
    closeSync(fd);
  });
  const reading = readRequests(fd, { request: () => undefined, hungUp: () => false, failed: () => undefined });
  await t.rejects(reading, { code: "EISDIR" });
});

void t.test("after hanging up no request is handled and no read is started", async (t) => {
  const fd = openSync(join(t.testdir({ file: "request" }), "file"), "r");
  t.teardown(() => {
    closeSync(fd);
  });
  let isHungUp = false;
  const seen: number[] = [];
  const reading = readRequests(fd, {
    request: (message) => seen.push(message.length),
    hungUp: () => isHungUp,
    failed: () => undefined,
  });
  isHungUp = true;
  t.equal(await reading, "aborted");
  t.strictSame(seen, [], "what was read meanwhile is dropped");
});
