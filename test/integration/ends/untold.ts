import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { NODE_ARGUMENTS, PROGRAM, run } from "../../fixtures/host/command-line.js";
import { labDirectory, labIn } from "../../fixtures/host/lab-host.js";
import { addMachine } from "../../fixtures/host/lab-machine.js";
import { ProxyHost } from "../../fixtures/host/proxy-host.js";
import { lastLine, nothingLeft } from "../../fixtures/host/refusals.js";

/** The answer of a command goes to a file on a full disk. */
const directory = await labDirectory(t);
await addMachine(directory, { folder: "tiny" });
const lab = await labIn(t, directory);

for (const [what, words] of [
  ["one", ["name:tiny"]],
  ["several", ["glob:tin*"]],
] as const) {
  void t.test(`a mount of ${what} that nobody can be told of is undone`, async (t) => {
    const host = await ProxyHost.make(t, lab);
    await mkdir(join(host.directory, "many"));
    const command = ["mount", ...words, what === "one" ? host.mountPoint : join(host.directory, "many")];
    const program = [process.execPath, ...NODE_ARGUMENTS, PROGRAM, ...command];
    const ended = await run("sh", ["-c", 'exec "$@" > /dev/full', "sh", ...program], {
      env: { VMMOUNT_CONFIG: host.configPath },
    });
    t.equal(ended.code, 80, ended.stderr);
    t.match(lastLine(ended.stderr), /^vmmount: Cannot write the answer to stdout: there is no room left/);
    await nothingLeft(t, host, lab);
  });
}
