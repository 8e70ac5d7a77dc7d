import type { Command } from "commander";
import { UsageError } from "../errors.js";

/** Options that every command takes; commander camel-cases the flags. */
export interface CommonOptions {
  readonly config?: string;
  readonly json?: boolean;
  readonly logLevel?: string;
  readonly logFile?: string;
  readonly quiet?: boolean;
  readonly verbose?: number;
  readonly server?: string;
  readonly user?: string;
  readonly passwordFile?: string;
  readonly passwordFd?: number;
  readonly caFile?: string;
  readonly fingerprint?: string;
  readonly insecure?: boolean;
}

function descriptorNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`Cannot use --password-fd "${text}": it is the number of an open descriptor`);
}

/** The options of all commands, with those for the server where one is asked. */
export function withCommonOptions(command: Command, asks: "a server" | "this host only"): Command {
  if (asks === "a server") {
    command
      .option("-s, --server <name|url>", "configured server, https://host[:port], or dir:///FOLDER of VMs")
      .option("-u, --user <name>", "user to log in as")
      .option("--password-file <file>", "file with the password in its first line, mode 0600")
      .option("--password-fd <n>", "read the password from this open descriptor", descriptorNumber)
      .option("--ca-file <file>", "PEM file of the CA that signed the server's certificate")
      .option("--fingerprint <hex>", "accept exactly the certificate with this SHA-256 fingerprint")
      .option("--insecure", "do not verify the server's certificate (warns)");
  }
  return command
    .option("-c, --config <file>", "read this configuration file instead of the usual ones")
    .option("--json", "answer with one JSON object on stdout; logs and errors are JSON on stderr")
    .option("-L, --log-level <0..6>", "0 nothing, 1 errors, 2 warnings, 3 steps, 4 progress, 5 calls, 6 wire")
    .option("--log-file <file>", "add log lines to this file, as JSON; stderr then has steps at most (-L 3)")
    .option("-q, --quiet", "errors only (-L 1)")
    .option("-v, --verbose", "more: -v = -L 4, -vv = -L 5, -vvv = -L 6", (_value, count: number) => count + 1, 0);
}
