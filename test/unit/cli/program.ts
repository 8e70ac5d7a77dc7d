import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync } from "node:fs";
import t from "tap";
import type { Command } from "commander";
import { createProgram } from "../../../src/cli/program.js";
import { EXIT_CODES } from "../../../src/exit-codes.js";
import { VERSION } from "../../../src/version.js";
import { command } from "../../fixtures/cli/command.js";
import { NODE_ARGUMENTS, PROGRAM, run } from "../../fixtures/host/command-line.js";

function tree(): Command {
  return createProgram({
    env: {},
    out: () => undefined,
    err: () => undefined,
    isInteractive: false,
    canPrompt: false,
    program: "",
    signal: new AbortController().signal,
  });
}

/** Every command that a user can see, as words. */
function visible(at: Command, words: string[] = []): { words: string[]; command: Command }[] {
  return at.commands.flatMap((one) => {
    const own = [...words, one.name()];
    return [{ words: own, command: one }, ...visible(one, own)];
  });
}

void t.test("every command explains itself, with examples and every option", async (t) => {
  for (const { words, command: one } of visible(tree())) {
    const { code, out, err } = await command([...words, "--help"]);
    t.equal(code, 0, words.join(" "));
    t.equal(err, "");
    t.match(out, new RegExp(`^Usage: vmmount ${words.join("(\\|\\w+)? ")}`));
    t.ok(one.description().endsWith("."), "describes itself in a sentence");
    for (const option of one.options) {
      t.ok(out.includes(option.flags), `${words.join(" ")} ${option.flags}`);
      t.ok(option.description !== "");
    }
    if (one.commands.length === 0) t.match(out, /\nExamples?:\n +vmmount /, `${words.join(" ")} has examples`);
  }
});

void t.test("the program explains itself, with every exit code", async (t) => {
  const { code, out } = await command(["--help"]);
  t.equal(code, 0);
  for (const [name, entry] of Object.entries(EXIT_CODES)) {
    t.match(out, new RegExp(`^ +${entry.code} +${name} `, "m"));
    t.ok(out.includes(entry.meaning));
  }
  t.notMatch(out, /daemon \[/, "the daemon is not for users");
  t.match(await command(["--version"]), { code: 0, out: `${VERSION}\n` });
  t.match(await command(["help", "mount"]), { code: 0, out: /^Usage: vmmount mount/ });
});

void t.test("a wrong command line ends with 64 and one sentence", async (t) => {
  const cases: [argv: string[], message: RegExp][] = [
    [["mont"], /unknown command 'mont' \(Did you mean mount\?\)/],
    [["status", "--jsn"], /unknown option '--jsn' \(Did you mean --json\?\)/],
    [["--json"], /unknown option '--json'/],
    [["status", "extra"], /too many arguments/],
    [["mount"], /missing required argument 'vm'/],
    [["mount"], /missing required argument 'vm/],
    [["status", "-L"], /argument missing/],
    [["snapshot", "remove"], /unknown command 'remove'/],
    [["umount"], /give one mount point or session id, or --all/],
    [["umount", "/mnt", "--all"], /give one mount point or session id, or --all/],
    [["find", "any:", "--format", "xml"], /Cannot print in format "xml"/],
    [["ls", "--password-fd", "three"], /Cannot use --password-fd "three"/],
    [["ls", "name:"], /nothing follows "name:"/],
    [["lab"], /--dir is missing/],
    [["lab", "--dir", "/tmp", "--listen", "here"], /Cannot listen on "here"/],
    [["lab", "--dir", "/tmp", "--profile", "8.2"], /Cannot show release 8\.2: \/tmp is no pool/],
  ];
  for (const [argv, message] of cases) {
    const { code, out, error } = await command(argv);
    t.equal(code, 64, argv.join(" "));
    t.equal(out, "");
    t.match(error?.message, message);
    t.notMatch(error?.message, /\n/);
  }
});

void t.test("no command at all is no success: a script may have lost it", async (t) => {
  for (const argv of [[], ["snapshot"], ["config"]]) {
    const { code, err, error } = await command(argv);
    t.equal(code, 64);
    t.match(err, /^Usage: vmmount/);
    t.match(error?.message, /no command is given/);
  }
});

void t.test("log level: flags beat the environment, and their absence does not", async (t) => {
  const level = async (argv: string[], env = {}): Promise<string> => {
    const edge = { env: { VMMOUNT_CONFIG: "/dev/null", ...env } };
    const { out } = await command(["config", "show", "--json", ...argv], edge);
    const { settings } = JSON.parse(out) as { settings: { key: string; value: unknown; origin: string }[] };
    const found = settings.find(({ key }) => key === "log.level");
    return `${String(found?.value)} ${found?.origin ?? ""}`;
  };
  t.equal(await level([]), "3 default");
  t.equal(await level([], { VMMOUNT_LOG_LEVEL: "5" }), "5 VMMOUNT_LOG_LEVEL");
  t.equal(await level(["-q"], { VMMOUNT_LOG_LEVEL: "5" }), "1 --quiet");
  t.equal(await level(["-v"]), "4 --verbose");
  t.equal(await level(["-vvvvv"]), "6 --verbose");
  t.equal(await level(["-L", "0", "-v"]), "0 --log-level");
  t.match(await command(["status", "-L", "7"]), { code: 78, error: { message: /from --log-level: .*0 to 6/ } });
});

const notBuilt = existsSync(PROGRAM) ? false : "dist/ is not built";

void t.test("as a process", { skip: notBuilt }, async (t) => {
  const env = { VMMOUNT_CONFIG: "/dev/null" };
  const vmmount = (...argv: string[]) => run(process.execPath, [...NODE_ARGUMENTS, PROGRAM, ...argv], { env });
  await t.test("a failure is one line on stderr, and its exit code", async (t) => {
    const ended = await vmmount("umount");
    t.match(ended, { code: 64, stdout: "", stderr: /^vmmount: Cannot unmount: .*--all\n$/ });
  });
  await t.test("with --json it is one object", async (t) => {
    const { code, stdout, stderr } = await vmmount("ls", "--json");
    t.equal(stdout, "");
    t.match(JSON.parse(stderr), { code: 78, name: "config", kind: "ConfigError", retryable: false, hint: /--server/ });
    t.equal(code, 78);
  });
  await t.test("the answer is on stdout alone", async (t) => {
    t.match(await vmmount("--version"), { code: 0, stdout: `${VERSION}\n`, stderr: "" });
  });
  await t.test("a reader that has seen enough is no bug", async (t) => {
    const child = spawn(process.execPath, [...NODE_ARGUMENTS, PROGRAM, "--help"], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    t.teardown(() => child.kill("SIGKILL"));
    child.stdout.destroy();
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    const [code] = (await once(child, "close")) as [number | null];
    t.equal(code, 141, "as SIGPIPE ends other programs");
    t.equal(stderr, "");
  });
  await t.test("a disk without room for the answer is no bug", async (t) => {
    const full = openSync("/dev/full", "w");
    t.teardown(() => {
      closeSync(full);
    });
    const child = spawn(process.execPath, [...NODE_ARGUMENTS, PROGRAM, "config", "show"], {
      env: { ...process.env, ...env },
      stdio: ["ignore", full, "pipe"],
    });
    t.teardown(() => child.kill("SIGKILL"));
    let stderr = "";
    child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    const [code] = (await once(child, "close")) as [number | null];
    t.equal(code, 80);
    t.match(stderr, /^vmmount: Cannot write the answer to stdout: there is no room left on its disk\. [^\n]*\n$/);
  });
  await t.test(
    "a user who is in no password database and has no HOME",
    { skip: process.getuid?.() !== 0 },
    async (t) => {
      const as = async (...env: string[]): Promise<{ code: number | null; stderr: string }> => {
        // "env -i" keeps out what tap adds, which this user could not write.
        const child = spawn("env", ["-i", ...env, process.execPath, PROGRAM, "config", "show"], {
          ...{ uid: 54_321, gid: 54_321, cwd: "/" },
          stdio: ["ignore", "ignore", "pipe"],
        });
        t.teardown(() => child.kill("SIGKILL"));
        let stderr = "";
        child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
        const [code] = (await once(child, "close")) as [number | null];
        return { code, stderr };
      };
      t.match(await as(), { code: 78, stderr: /^vmmount: Cannot choose directories .*HOME[^\n]*\n$/ });
      t.match(await as("XDG_STATE_HOME=/tmp/s", "XDG_CACHE_HOME=/tmp/c"), { code: 0, stderr: "" });
    },
  );
});
