import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import t, { type Test } from "tap";
import { NODE_ARGUMENTS, PROGRAM, run } from "../fixtures/host/command-line.js";
import { labDirectory } from "../fixtures/host/lab-host.js";
import { ProxyHost } from "../fixtures/host/proxy-host.js";

function vmmount(...args: string[]) {
  return run(process.execPath, [...NODE_ARGUMENTS, PROGRAM, ...args]);
}

/** A lab as users start it; it has said where it listens when this resolves. */
async function serve(t: Test, directory: string, ...args: string[]) {
  const words = [...NODE_ARGUMENTS, PROGRAM, "lab", "--dir", directory, ...args];
  const child = spawn(process.execPath, words, { stdio: ["ignore", "pipe", "inherit"] });
  t.teardown(() => {
    child.kill("SIGKILL");
  });
  const [said] = (await once(child.stdout.setEncoding("utf8"), "data")) as [string];
  return { child, said };
}

void t.test("a lab tells how to reach it, serves, and ends with Ctrl-C", async (t) => {
  const directory = await labDirectory(t);
  const { child, said } = await serve(t, directory, "--json");
  const facts = JSON.parse(said) as Record<"url" | "user" | "passwordFile" | "fingerprint" | "caFile", string>;
  const host = await ProxyHost.make(t, { ...facts, passwordPath: facts.passwordFile });
  const listed = await host.vmmount(["ls", "/dc1"]);
  t.equal(listed.code, 0, listed.stderr);
  t.match(listed.stdout, /vm +on +\/dc1\/web01/);
  const port = new URL(facts.url).port;
  const second = await vmmount("lab", "--dir", await labDirectory(t), "--listen", `127.0.0.1:${port}`);
  t.equal(second.code, 73, "the port is taken");
  child.kill("SIGINT");
  t.strictSame(await once(child, "exit"), [0, null]);
});

void t.test("what a lab prints for people is a configuration file that works", async (t) => {
  const { child, said } = await serve(t, await labDirectory(t));
  const config = said.slice(said.indexOf("[server.lab]"));
  const directory = await mkdtemp(join(tmpdir(), "vmm-"));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  await writeFile(join(directory, "config.toml"), config, { mode: 0o600 });
  const listed = await vmmount("ls", "--config", join(directory, "config.toml"));
  t.equal(listed.code, 0, listed.stderr);
  t.match(listed.stdout, "/dc1");
  child.kill("SIGTERM");
  t.strictSame(await once(child, "exit"), [0, null]);
});

void t.test("lab init makes a lab once and touches nothing else", async (t) => {
  const directory = await labDirectory(t);
  t.equal((await vmmount("lab", "init", directory)).code, 0, "a lab is left as it is");
  const foreign = await mkdtemp(join(tmpdir(), "vmm-"));
  t.teardown(() => rm(foreign, { recursive: true, force: true }));
  await writeFile(join(foreign, "thesis.txt"), "dear");
  const refused = await vmmount("lab", "init", foreign);
  t.equal(refused.code, 79);
  t.match(refused.stderr, /thesis\.txt/);
  for (const address of ["127.0.0.1", "127.0.0.1:99999", "[web]:80"]) {
    t.equal((await vmmount("lab", "--dir", directory, "--listen", address)).code, 64, address);
  }
  t.equal((await vmmount("lab")).code, 64, "--dir is needed");
});
