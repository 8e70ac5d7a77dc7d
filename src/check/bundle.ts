import { createWriteStream } from "node:fs";
import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import { pipeline } from "node:stream/promises";
import { pack } from "tar-stream";
import { ConfigError, RefusedError } from "../errors.js";
import { listSessions } from "../mount/session-list.js";
import { type SettingKey, SETTING_KEYS, type Settings } from "../settings.js";
import type { SessionFacts } from "../snapshot/journal-record.js";
import { type BundleEntry, ownMounts, stateFiles } from "./bundle-files.js";
import { serverStory } from "./bundle-servers.js";
import { versions } from "./bundle-versions.js";
import { knownSecrets, redacted } from "./redaction.js";
import { checkLocalHost } from "./local-host.js";
import { toReport } from "./report.js";
import type { CheckOptions } from "./run.js";

export interface Bundle {
  readonly file: string;
  readonly entries: readonly { readonly name: string; readonly bytes: number }[];
  /** What is not in it, and why. */
  readonly notes: readonly string[];
}

/**
 * Writes what support wants to see into one tar, mode 0600: nothing gets into it but by way of `redacted`.
 * @param file must not exist yet
 * @throws RefusedError when it does, ConfigError when it cannot be written
 */
export async function writeBundle(
  file: string,
  options: CheckOptions & { readonly env: Readonly<Record<string, string | undefined>> },
): Promise<Bundle> {
  const secrets = knownSecrets(options.config, options.env);
  const { entries, notes } = await collect(options);
  const about: BundleEntry = {
    name: "README.txt",
    text: [
      `Made by "vmmount doctor --bundle" on ${hostname()}, ${new Date().toISOString()}. Secrets are hidden.`,
      ...notes,
    ].join("\n"),
  };
  const folder = `vmmount-doctor-${hostname().replace(/[^\w.-]/g, "_")}`;
  const shown = [about, ...entries].map(({ name, text }) => {
    const safeName = redacted(name, secrets).replace(/[^\w./#-]/g, "_");
    return { name: `${folder}/${safeName}`, content: Buffer.from(redacted(`${text}\n`, secrets)) };
  });
  const tar = pack();
  for (const { name, content } of shown) tar.entry({ name, mode: 0o600, mtime: new Date() }, content);
  tar.finalize();
  try {
    await pipeline(tar, createWriteStream(file, { flags: "wx", mode: 0o600 }));
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") throw new RefusedError(`Cannot write "${file}": it is there already`, { cause: error });
    await rm(file, { force: true });
    throw new ConfigError(`Cannot write "${file}": ${message}`, { cause: error, hint: "Name another place" });
  }
  return { file, entries: shown.map(({ name, content }) => ({ name, bytes: content.length })), notes };
}

async function collect({ config, choice, paths, logger, signal }: CheckOptions): Promise<{
  readonly entries: readonly BundleEntry[];
  readonly notes: readonly string[];
}> {
  const { settings } = config;
  const files = await stateFiles(paths);
  const known = (await listSessions(paths).catch(() => [])).flatMap(({ facts }) =>
    facts === undefined ? [] : [facts],
  );
  // Nobody sits at a terminal for a support bundle.
  const silent = { ...choice, credential: { ...choice.credential, prompt: undefined } };
  const servers = [...config.servers.values()];
  const stories = await Promise.all(
    servers.map((server) => serverStory(server, vmsOf(known, server.url), { choice: silent, logger }, signal)),
  );
  const check = toReport(await checkLocalHost({ settings, paths }, signal));
  return {
    notes: [
      ...files.notes,
      ...stories.flatMap(({ server, note }) => (note === undefined ? [] : [`${server}: ${note}`])),
    ],
    entries: [
      json("versions.json", await versions(settings["vddk.libdir"])),
      json("config.json", shownConfig(config)),
      json("check.json", check),
      await ownMounts(),
      ...stories.map((story, index) => json(`servers/${index + 1}.json`, story)),
      ...files.entries,
    ],
  };
}

/** Each VM once. */
function vmsOf(sessions: readonly SessionFacts[], url: string): SessionFacts["vm"][] {
  const own = sessions.filter(({ server }) => server.url === url.replace(/\/$/, ""));
  return [...new Map(own.map(({ vm }) => [vm.ref, vm])).values()];
}

function shownConfig({ settings, origins, servers, files }: CheckOptions["config"]): object {
  return {
    files,
    settings: SETTING_KEYS.map((key) => ({ key, value: shownValue(key, settings), origin: origins[key] })),
    servers: [...servers.values()].map(({ password, ...server }) => ({
      ...server,
      login: password === undefined ? "elsewhere" : "in the file",
    })),
  };
}

/** Commands may have passwords in them, in forms that nobody can know: that there is one must do. */
function shownValue(key: SettingKey, settings: Settings): unknown {
  const isCommand = key === "hooks.before_snapshot" || key === "hooks.after_snapshot";
  return isCommand && settings[key] !== "" ? "[a command, not shown]" : settings[key];
}

function json(name: string, value: unknown): BundleEntry {
  return { name, text: JSON.stringify(value, undefined, 2) };
}
