import { readFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { once } from "node:events";
import { isIP } from "node:net";
import { join, resolve } from "node:path";
import { Option, type Command } from "commander";
import { CancelledError, UsageError } from "../errors.js";
import type { Lab } from "../lab/lab.js";
import { PROFILES, type ProfileName } from "../lab/xen/profile.js";
import type { Logger } from "../log.js";
import { type CommonOptions, withCommonOptions } from "./common-options.js";
import type { ProcessEdge } from "./context.js";
import { answer } from "./output.js";

interface LabFlags extends CommonOptions {
  readonly dir?: string;
  readonly listen: string;
  readonly rules?: string;
  readonly profile?: ProfileName;
}

interface InitFlags extends CommonOptions {
  readonly pool?: boolean;
}

const EXAMPLES = `
Examples:
  vmmount lab init /srv/lab                 make two VMs with real ext4 file systems
  vmmount lab --dir /srv/lab                serve them as a vCenter; Ctrl-C ends it
  vmmount lab --dir /srv/lab --listen 127.0.0.1:8443 --rules faults.json
  vmmount lab init --pool /srv/pool         make two Xen hosts with VMs
  vmmount lab --dir /srv/pool --profile 8.2 serve them as XCP-ng 8.2

The lab is a stand-in for trying and testing: never show it to a network that you do not trust.`;

export function addLab(program: Command, edge: ProcessEdge): void {
  const command = program
    .command("lab")
    .summary("serve a stand-in vCenter or Xen pool with real disk images")
    .description(
      "Serves a stand-in vCenter or Xen pool: real protocols and real disk images from a folder, no hypervisor.",
    )
    .option("--dir <directory>", "folder of the lab, as made by lab init")
    .option(
      "--listen <host:port>",
      "address to listen on (of a pool's first host); port 0 takes a free one",
      "127.0.0.1:0",
    )
    .option("--rules <file>", "JSON file with faults, delays and limits to act out")
    .addOption(
      new Option("--profile <release>", "release that a pool shows; default: what its pool.json says").choices(
        PROFILES,
      ),
    )
    .addHelpText("after", EXAMPLES);
  withCommonOptions(command, "this host only").action(async (flags: LabFlags) => {
    if (flags.dir === undefined)
      throw new UsageError("Cannot serve a lab: --dir is missing", { hint: "See vmmount lab --help" });
    const { createContext } = await import("./context.js");
    const context = createContext(edge, flags);
    // The paths that it prints are for a configuration file, which is read from anywhere.
    const directory = resolve(flags.dir);
    const options = { directory, listen: address(flags.listen), logger: context.logger };
    await using lab = isPool(directory) ? await servePool(options, flags.profile) : await serveVCenter(options, flags);
    if (flags.rules !== undefined) lab.rules.load(await readRules(flags.rules));
    answer(context.terminal, labFacts(lab), () => describeLab(lab));
    if (!context.signal.aborted) await once(context.signal, "abort");
    const reason: unknown = context.signal.reason;
    // Ending it is what a lab is told to do: success.
    if (!(reason instanceof CancelledError)) throw reason;
  });
  addInit(command, edge);
}

function addInit(lab: Command, edge: ProcessEdge): void {
  const init = lab
    .command("init")
    .summary("make a lab folder with VMs")
    .description("Makes a lab folder with VMs that have GPT partition tables and real ext4 file systems.")
    .argument("<directory>", "a new or empty folder; about 300 MB are written")
    .option("--pool", "a pool of two Xen hosts instead of a vCenter")
    .addHelpText("after", "\nExample:\n  vmmount lab init /srv/lab && vmmount lab --dir /srv/lab");
  withCommonOptions(init, "this host only").action(async (directory: string, flags: InitFlags, command: Command) => {
    // Both lab and init have --json and its like; the parser gives them to lab.
    const { createContext } = await import("./context.js");
    const context = createContext(edge, command.optsWithGlobals());
    if (flags.pool === true) await (await import("../lab/xen/init-pool.js")).initLabPool(directory);
    else await (await import("../lab/init.js")).initLab(directory);
    answer(
      context.terminal,
      { directory },
      () => `Made a lab in ${directory}. Serve it: vmmount lab --dir ${directory}`,
    );
  });
}

function address(text: string): { host: string; port: number } {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || port > 65535 || (match?.[1] !== undefined && isIP(host) !== 6)) {
    throw new UsageError(`Cannot listen on "${text}": write host:port, such as 127.0.0.1:0`);
  }
  return { host, port };
}

async function readRules(path: string): Promise<Parameters<Lab["rules"]["load"]>[0]> {
  try {
    // The lab validates it.
    return JSON.parse(await readFile(path, "utf8")) as Parameters<Lab["rules"]["load"]>[0];
  } catch (error) {
    throw new UsageError(`Cannot read rules file "${path}": ${(error as Error).message}`, { cause: error });
  }
}

/** What the two kinds of labs have in common. */
interface ServedLab extends AsyncDisposable, Pick<Lab, "url" | "passwordPath" | "fingerprint" | "certificatePath"> {
  readonly user: string;
  readonly rules: Lab["rules"];
  readonly vms: readonly unknown[];
  /** "vCenter" or what the pool says of itself. */
  readonly kind: string;
}

interface ServeOptions {
  readonly directory: string;
  readonly listen: { readonly host: string; readonly port: number };
  readonly logger: Logger;
}

/** A pool's folder is known by its configuration. */
function isPool(directory: string): boolean {
  return existsSync(join(directory, "pool.json"));
}

async function servePool(options: ServeOptions, profile: ProfileName | undefined): Promise<ServedLab> {
  const { startLabPool } = await import("../lab/xen/lab-pool.js");
  const lab = await startLabPool({ ...options, profile });
  const { product_brand: brand = "", product_version: version = "" } = lab.pool.profile.softwareVersion;
  return Object.assign(lab, { kind: `pool of ${lab.hosts.length} ${brand} ${version} hosts` });
}

async function serveVCenter(options: ServeOptions, { profile }: LabFlags): Promise<ServedLab> {
  if (profile !== undefined) {
    throw new UsageError(`Cannot show release ${profile}: ${options.directory} is no pool`, {
      hint: `Make one with "vmmount lab init --pool DIRECTORY"`,
    });
  }
  const { startLab } = await import("../lab/lab.js");
  return Object.assign(await startLab(options), { kind: "vCenter" });
}

function labFacts(lab: ServedLab): object {
  const { url, user, passwordPath, fingerprint, certificatePath } = lab;
  return { url, user, passwordFile: passwordPath, fingerprint, caFile: certificatePath };
}

function describeLab(lab: ServedLab): string {
  return `Serving a stand-in ${lab.kind} with ${lab.vms.length} VMs. Reach it with this configuration file:

[server.lab]
url = "${lab.url}"
user = "${lab.user}"
password_file = "${lab.passwordPath}"
ca_file = "${lab.certificatePath}"      # or: fingerprint = "${lab.fingerprint}"`;
}
