import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { leaveCgroup, scopeArguments } from "../../../src/mount/cgroup.js";
import { recordingLogger } from "../../fixtures/recording-logger.js";
import { scratch } from "../../fixtures/scratch.js";

void t.test("scopeArguments() is the call that systemd documents", (t) => {
  t.equal(
    scopeArguments(4242, "k3v9q2m7xa").join(" "),
    "call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartTransientUnit " +
      "ssa(sv)a(sa(sv)) vmmount-k3v9q2m7xa.scope fail 2 PIDs au 1 4242 Description s vmmount session k3v9q2m7xa 0",
  );
  t.end();
});

void t.test("leaveCgroup() does nothing without systemd", async (t) => {
  const { logger, lines } = recordingLogger();
  await leaveCgroup(1, "k3v9q2m7xa", logger, join(scratch(t), "none"));
  t.strictSame(lines, []);
});

void t.test("leaveCgroup() asks the bus, and its failure is a line of the log", async (t) => {
  const directory = scratch(t);
  const before = process.env["PATH"];
  t.teardown(() => {
    process.env["PATH"] = before;
  });
  process.env["PATH"] = `${directory}:${before ?? ""}`;
  const program = join(directory, "busctl");
  const { logger, lines } = recordingLogger();
  writeFileSync(program, `#!/bin/sh\nprintf '%s|' "$@" >'${directory}/said'\n`);
  chmodSync(program, 0o755);
  await leaveCgroup(4242, "k3v9q2m7xa", logger, directory);
  t.equal(readFileSync(join(directory, "said"), "utf8"), `${scopeArguments(4242, "k3v9q2m7xa").join("|")}|`);
  writeFileSync(program, "#!/bin/sh\necho 'no bus' >&2; exit 1\n");
  await leaveCgroup(4242, "k3v9q2m7xa", logger, directory);
  t.match(lines, [
    { level: "debug", message: /runs in scope vmmount-k3v9q2m7xa\.scope/ },
    { level: "debug", message: /stays in the caller's control group: .*no bus/s },
  ]);
});
