import { closeSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import t, { type Test } from "tap";
import { Replies } from "../../../../src/fs/fuse/replies.js";
import { createLogger, SecretTexts } from "../../../../src/log.js";
import { MIB } from "../../../../src/units.js";
import { toHex } from "../../../fixtures/fuse-session.js";
import { pattern } from "../../../fixtures/memory-file-system.js";

function repliesTo(t: Test, path: string, flags: string) {
  const fd = openSync(path, flags);
  t.teardown(() => {
    closeSync(fd);
  });
  const log: string[] = [];
  const logger = createLogger({ level: 6, write: (line) => log.push(line), secrets: new SecretTexts() });
  return { replies: new Replies(fd, logger), log };
}

void t.test("one message each, with its own length in front", async (t) => {
  const path = join(t.testdir({ out: "" }), "out");
  const { replies } = repliesTo(t, path, "a");
  replies.body(2n, new Uint8Array([1, 2, 3]));
  replies.body(4n, new Uint8Array(0));
  replies.error(6n, "EIO");
  t.equal(
    toHex(readFileSync(path)),
    [
      "1300000000000000 0200000000000000 010203",
      "1000000000000000 0400000000000000",
      "10000000fbffffff 0600000000000000",
    ]
      .join("")
      .replaceAll(" ", ""),
  );
  const data = pattern(MIB, 1);
  await replies.data(8n, data);
  const large = readFileSync(path).subarray(51);
  t.equal(toHex(large.subarray(0, 16)), "10001000000000000800000000000000");
  t.ok(data.every((byte, index) => byte === large[16 + index]));
});

void t.test("a reply that the kernel refuses is logged, small or large, and harms nobody", async (t) => {
  const path = join(t.testdir({ out: "" }), "out");
  const { replies, log } = repliesTo(t, path, "r");
  replies.body(2n, new Uint8Array(8));
  await replies.data(4n, new Uint8Array(MIB));
  t.match(log[0], /EBADF.*Cannot answer a FUSE request/);
  t.match(log[1], /"unique":"4".*EBADF/);
});

void t.test("after close nothing is written", async (t) => {
  const path = join(t.testdir({ out: "" }), "out");
  const { replies } = repliesTo(t, path, "a");
  const large = replies.data(2n, new Uint8Array(MIB));
  await replies.close();
  t.equal(readFileSync(path).length, MIB + 16, "close waits for what was under way");
  await large;
  replies.body(4n, new Uint8Array(8));
  replies.error(6n, "EIO");
  await replies.data(8n, new Uint8Array(MIB));
  t.equal(readFileSync(path).length, MIB + 16);
});
