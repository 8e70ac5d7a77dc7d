#!/usr/bin/env node
import { constants } from "node:os";
import { isatty } from "node:tty";
import { fileURLToPath } from "node:url";
import { CancelledError, errorFacts } from "./errors.js";
import { EXIT_CODES } from "./exit-codes.js";
import { failureText } from "./failure-text.js";
import { StopRequests } from "./stop-requests.js";
import { unwrittenAnswer } from "./unwritten-answer.js";
import type { LogOutput } from "./cli/log-output.js";

/** Sockets and timers that a finished command forgot may hold the process this long. */
const LINGER_MS_MAX = 5000;

/** The daemon owns a mount: it handles signals in its own way (src/mount/daemon.ts). */
const argv = process.argv.slice(2);
const isDaemon = argv[0] === "daemon";
/** It ends when the daemon that started it does. */
const isVddkHost = argv[0] === "vddk-host";

const stop = new AbortController();
const requests = new StopRequests();
if (isVddkHost) {
  // Ctrl-C reaches the whole process group: the daemon must be able to close its disks first.
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(name, () => undefined);
} else if (!isDaemon) {
  for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(name, () => {
      const signal = constants.signals[name];
      const asked = requests.next();
      if (asked === "stop") stop.abort(new CancelledError(`Stopped by ${name}`, { signal }));
      if (asked === "force") {
        const hint = 'The journal remembers what is left: see "vmmount status", and then "vmmount gc"';
        report(
          new CancelledError(`Stopped by ${name}, which came again, in the middle of cleaning up`, { signal, hint }),
        );
        // Without a listener it ends the process at once.
        process.removeAllListeners(name);
        process.kill(process.pid, name);
      }
    });
  }
}

const isJson = argv.includes("--json");
/** Level 0 on the command line; that of a configuration is not known before it is read. */
const isSilent = /(^| )(-L|--log-level)[ =]?0( |$)/.test(argv.join(" "));

/** Set as soon as a command knows its configuration. */
let logOutput: LogOutput | undefined;

function report(thrown: unknown): number {
  const facts = errorFacts(thrown);
  if (facts.name === "internal" && thrown instanceof Error) process.stderr.write(`${thrown.stack ?? ""}\n`);
  if (logOutput !== undefined) logOutput.fail(facts);
  else if (isJson || !isSilent) process.stderr.write(failureText(facts, isJson ? "json" : "text"));
  return facts.code;
}

/** Why nothing more can be written to stdout. */
let unwritten: Error | undefined;

/** Into a file Node writes at once, and knows at once of a full disk. @throws what `unwrittenAnswer` makes of it */
function writeOut(answer: string): void {
  try {
    process.stdout.write(answer);
  } catch (error) {
    throw unwrittenAnswer(error);
  }
  const failure: NodeJS.ErrnoException | null = process.stdout.errored;
  if (failure === null || failure.code === "EPIPE") return;
  unwritten = failure;
  throw unwrittenAnswer(failure);
}

/** `vmmount ls | head`: the reader has seen enough. As if SIGPIPE had ended us, which Node ignores. */
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  // The command that wrote it knows, and may have something to undo.
  if (error === unwritten) return;
  if (error.code !== "EPIPE") throw unwrittenAnswer(error);
  process.exitCode = EXIT_CODES.signal.code + constants.signals.SIGPIPE;
});
// Without a reader there is nobody to tell.
process.stderr.on("error", () => undefined);

process.on("uncaughtException", (error) => {
  // Node's own exit code for this is 1, which backup products read as "skip quietly".
  process.exitCode = report(error);
  // It unmounts, and ends when that is done.
  if (isDaemon && process.listenerCount("uncaughtExceptionMonitor") > 0) return;
  // eslint-disable-next-line no-restricted-properties -- this process serves no mount, so nothing can hold it
  process.exit();
});

/** The command line and the daemon load only their own modules: both are on the way to the first byte. */
async function run(): Promise<number> {
  if (isDaemon) {
    const { runDaemon } = await import("./mount/daemon.js");
    return await runDaemon();
  }
  if (isVddkHost) {
    const { runVddkHost } = await import("./vddk/host.js");
    return await runVddkHost();
  }
  const { runCommandLine } = await import("./cli/program.js");
  return await runCommandLine(argv, {
    env: process.env,
    out: writeOut,
    err: (text) => process.stderr.write(text),
    isInteractive: process.stderr.isTTY,
    // Not process.stdin: it would make descriptor 0 non-blocking, and --password-fd 0 would not wait for its writer.
    canPrompt: isatty(0) && process.stderr.isTTY,
    program: fileURLToPath(import.meta.url),
    signal: stop.signal,
    onLogOutput: (output) => {
      logOutput = output;
    },
  });
}

try {
  process.exitCode = await run();
} catch (error) {
  process.exitCode = report(error);
}
setTimeout(() => {
  // eslint-disable-next-line no-restricted-properties -- the last resort; nothing is mounted by this process any more
  process.exit(process.exitCode ?? EXIT_CODES.internal.code);
}, LINGER_MS_MAX).unref();
