import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t, { type Test } from "tap";
import { HostProcess } from "../../../src/vddk/host-process.js";
import type { HostRequest } from "../../../src/vddk/host-protocol.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { scratch } from "../../fixtures/scratch.js";

const REQUEST = {
  socket: "/nowhere",
  login: { turn: 0, secret: { kind: "password", password: "pw" } },
} as unknown as HostRequest;

/** @param alive what a host does when it is asked whether it lives: a program, which knows `process` */
async function endOf(t: Test, alive: string): Promise<string> {
  const program = join(scratch(t), "host.cjs");
  await writeFile(
    program,
    `process.on("message", ({ type }) => {
      if (type === "begin") process.send({ type: "ready", modes: "" });
      else { ${alive} }
    });\n`,
  );
  const host = HostProcess.start(program, REQUEST, {
    ...{ memory: undefined, libraryPath: "", logger: recordingLogger().logger },
    limits: { aliveEveryMs: 300, answerMs: 3_000 },
  });
  // So that a test fails and does not wait for ever.
  const timer = setTimeout(() => {
    host.kill();
  }, 12_000);
  t.teardown(() => {
    clearTimeout(timer);
    host.kill();
  });
  await host.begin(REQUEST);
  return (await host.ended).reason;
}

void t.test("a host that neither answers nor dies is killed, although nobody asks it anything", async (t) => {
  t.match(await endOf(t, 'process.kill(process.pid, "SIGSTOP");'), /SIGKILL, "no answer to "alive" within 3 s"/);
});

void t.test("so is one that says its library is stuck", async (t) => {
  const failed = '{ type: "failed", error: { name: "unreachable", message: "not completed for 301 s" } }';
  t.match(await endOf(t, `process.send(${failed});`), /SIGKILL, ".*not completed for 301 s/);
});

void t.test("one that answers lives on", async (t) => {
  const answers =
    'globalThis.n = (globalThis.n ?? 0) + 1; process.send({ type: "done" }); if (n === 3) process.exit(7);';
  t.notMatch(await endOf(t, answers), /SIGKILL/);
});
