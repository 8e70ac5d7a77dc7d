import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { HostProcess } from "../../../src/vddk/host-process.js";
import type { HostRequest } from "../../../src/vddk/host-protocol.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { scratch } from "../../fixtures/scratch.js";

void t.test("a host that neither answers nor dies is killed, although nobody asks it anything", async (t) => {
  const program = join(scratch(t), "host.cjs");
  const answer =
    'process.send({ type: "ready", modes: "" }); setTimeout(() => process.kill(process.pid, "SIGSTOP"), 100)';
  await writeFile(program, `process.once("message", () => { ${answer} });\n`);
  const request = { socket: "/nowhere", login: { turn: 0, secret: { kind: "password", password: "pw" } } };
  const host = HostProcess.start(program, request as unknown as HostRequest, {
    ...{ memory: undefined, libraryPath: "", logger: recordingLogger().logger },
    limits: { aliveEveryMs: 300, answerMs: 3_000 },
  });
  t.teardown(() => {
    host.kill();
  });
  await host.begin(request as unknown as HostRequest);
  const timer = setTimeout(() => t.fail("it was not killed"), 10_000);
  const giveUp = setTimeout(() => {
    host.kill();
  }, 11_000);
  const { reason } = await host.ended;
  clearTimeout(timer);
  clearTimeout(giveUp);
  t.match(reason, /SIGKILL, "no answer to "alive" within 3 s"/);
});
