import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import t, { type Test } from "tap";
import { NODE_ARGUMENTS, PROGRAM } from "../../fixtures/host/command-line.js";
import { runStranger } from "../../fixtures/stranger.js";
import { poolDirectory } from "../../fixtures/xen/lab-pool.js";

/** Python's own XML-RPC, which nobody of this project wrote, must understand a pool that `vmmount lab` serves. */
const PYTHON = "/usr/bin/python3";
const CLIENT = join(import.meta.dirname, "python-xmlrpc.py");

interface Served {
  readonly url: string;
  readonly passwordFile: string;
  readonly caFile: string;
}

/** The program as a person starts it; ended with the test. */
async function served(t: Test): Promise<Served> {
  const directory = await poolDirectory(t);
  const argv = [...NODE_ARGUMENTS, PROGRAM, "lab", "--dir", directory, "--profile", "8.2", "--json"];
  const child = spawn(process.execPath, argv, { stdio: ["ignore", "pipe", "inherit"] });
  const closed = once(child, "close");
  t.teardown(async () => {
    child.kill("SIGINT");
    const [code] = (await closed) as [number | null];
    if (code !== 0) throw new Error(`vmmount lab ended with ${String(code)}`);
  });
  for await (const line of createInterface(child.stdout)) return JSON.parse(line) as Served;
  throw new Error("vmmount lab has said nothing");
}

void t.test(
  "python's xmlrpc.client and the lab's pool agree",
  { skip: existsSync(PYTHON) ? false : "no python3 is installed" },
  async (t) => {
    const { url, passwordFile, caFile } = await served(t);
    const port = Number(/:(\d+)$/.exec(url)?.[1]);
    const password = (await readFile(passwordFile, "utf8")).trim();
    const member = `https://127.0.0.2:${port}`;
    const seen = (await runStranger(PYTHON, [CLIENT], { member, port, password, caFile, vm: "web01" })) as {
      readonly methods: number;
    };
    t.ok(seen.methods > 500, `${seen.methods} methods`);
    t.match(seen, {
      slave: ["HOST_IS_SLAVE", "127.0.0.1"],
      wrong: ["SESSION_AUTHENTICATION_FAILED", "root", String],
      vms: ["cold01", "db01", "web01"],
      types: {
        name_label: "str",
        memory_static_max: "str",
        is_a_template: "bool",
        snapshot_time: "DateTime",
        VBDs: "list",
        other_config: "dict",
        HVM_shadow_multiplier: "float",
      },
      snapshot: { name: "by Python <&>", of: true, time: /^\d{8}T\d\d:\d\d:\d\dZ$/, listed: true },
      events: ["sr add", "vm add"],
      counted: { vm: "int", sr: "int" },
      twice: ["MAP_DUPLICATE_KEY", "VM", "other_config"],
      gone: ["HANDLE_INVALID", "VM"],
      count: ["MESSAGE_PARAMETER_COUNT_MISMATCH", "VM.snapshot", "2", "1"],
      unknown: ["MESSAGE_METHOD_UNKNOWN", "VM.fly"],
      type: ["FIELD_TYPE_ERROR", "memory_static_max"],
      after: "SESSION_INVALID",
    });
  },
);
