import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import ts from "typescript";
import { createProgram } from "../../src/cli/program.js";
import { EXIT_CODES } from "../../src/exit-codes.js";
import { SETTING_KEYS, SETTINGS } from "../../src/settings.js";

/** The rules of the house, as a test: what no linter we use checks. */
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const FILE_LINES_MAX = 400;
const FUNCTION_LINES_MAX = 70;

function files(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length))
    .sort();
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), "utf8");
}

const SOURCES = files("src");
const TESTS = files("test");

function empty(t: Test, found: readonly string[], rule: string): void {
  t.strictSame(found, [], rule);
}

void t.test("no file is long", (t) => {
  const long = [...SOURCES, ...TESTS]
    .map((path) => ({ path, lines: read(path).split("\n").length - 1 }))
    .filter(({ lines }) => lines > FILE_LINES_MAX);
  empty(
    t,
    long.map(({ path, lines }) => `${path}: ${lines} lines`),
    `at most ${FILE_LINES_MAX} lines`,
  );
  t.end();
});

/** Every function with a body, and how many lines it has from its first to its last. */
function functions(path: string): { line: number; lines: number }[] {
  const source = ts.createSourceFile(path, read(path), ts.ScriptTarget.ES2023, true);
  const found: { line: number; lines: number }[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && "body" in node && node.body !== undefined) {
      const first = source.getLineAndCharacterOfPosition(node.getStart(source)).line;
      const last = source.getLineAndCharacterOfPosition(node.getEnd()).line;
      found.push({ line: first + 1, lines: last - first + 1 });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

void t.test("no function is long", (t) => {
  const long = SOURCES.flatMap((path) =>
    functions(path)
      .filter(({ lines }) => lines > FUNCTION_LINES_MAX)
      .map(({ line, lines }) => `${path}:${line}: ${lines} lines`),
  );
  empty(t, long, `at most ${FUNCTION_LINES_MAX} lines`);
  t.end();
});

/** Catch clauses that do nothing and do not say why. */
function silentCatches(path: string): string[] {
  const text = read(path);
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.ES2023, true);
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isCatchClause(node) && /^\{\s*\}$/.test(node.block.getText(source))) {
      found.push(`${path}:${source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

void t.test("no error is swallowed", (t) => {
  empty(t, [...SOURCES, ...TESTS].flatMap(silentCatches), "no empty catch without a reason in it");
  t.end();
});

// Spelled in two parts, so that this file keeps its own rules.
const LEFTOVERS = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"].join("|")})\\b`);
const OUTSIDE = new RegExp(["shared" + "/", "/wo" + "rk/"].join("|"));

void t.test("nothing is left for later, and nothing points outside of this repository", (t) => {
  const texts = [...SOURCES, ...TESTS, ...["README.md", "CHANGELOG.md", "man/vmmount.1"], ...markdown("docs")];
  const hits = texts
    .filter((path) => existsSync(join(ROOT, path)))
    .flatMap((path) =>
      read(path)
        .split("\n")
        .flatMap((line, index) =>
          LEFTOVERS.test(line) || OUTSIDE.test(line) ? [`${path}:${index + 1}: ${line}`] : [],
        ),
    );
  empty(t, hits, "no marks of unfinished work, no paths of somebody's machine");
  t.end();
});

function markdown(folder: string): string[] {
  if (!existsSync(join(ROOT, folder))) return [];
  return readdirSync(join(ROOT, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".md"))
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length));
}

/** Files and folders that no test names, and the tests that drive them through what users see of them. */
const TESTED_THROUGH: Readonly<Record<string, string>> = {
  "src/cli/answer-or-unmount.ts": "test/integration/ends/untold.ts",
  "src/unwritten-answer.ts": "test/integration/ends/untold.ts",
  "src/mount/daemon-signals.ts": "test/integration/ends/second-signal.ts",
  "src/mount/preexisting-mount.ts": "test/integration/policies.ts",
  "src/mount/recover-in-turn.ts": "test/integration/ends/two-at-once.ts",
  "src/mount/recover-session.ts": "test/unit/mount/unmount.ts",
  "src/mount/vm-turn.ts": "test/integration/ends/two-at-once.ts",
  "src/snapshot/vm-snapshots.ts": "test/unit/snapshot/session/foreign-snapshots.ts",
  "src/main.ts": "test/unit/cli/program.ts",
  "src/check/": "test/integration/check/vsphere.ts",
  "src/cli/gc.ts": "test/integration/gc/vsphere.ts",
  "src/gc/": "test/integration/gc/vsphere.ts",
  "src/cli/browse.ts": "test/unit/cli/commands.ts",
  "src/cli/common-options.ts": "test/unit/cli/program.ts",
  "src/cli/config.ts": "test/unit/cli/commands.ts",
  "src/cli/config-import.ts": "test/integration/config-and-logs.ts",
  "src/cli/config-show.ts": "test/unit/cli/commands.ts",
  "src/cli/doctor.ts": "test/unit/cli/check.ts",
  "src/cli/demo.ts": "scripts/demo",
  "src/cli/export.ts": "test/integration/xen/pool-sources.ts",
  "src/cli/lab.ts": "test/unit/cli/program.ts",
  "src/cli/mount.ts": "test/unit/cli/commands.ts",
  "src/cli/restore.ts": "test/integration/xen/restore.ts",
  "src/cli/status.ts": "test/unit/cli/commands.ts",
  "src/cli/umount.ts": "test/unit/cli/commands.ts",
  "src/fs/pool-tree.ts": "test/integration/xen/pool-sources.ts",
  "src/fs/fuse/": "test/integration/fuse/kernel-driver.ts",
  "src/fs/fuse-native/": "test/integration/fuse/fuse-native.ts",
  "src/https/": "test/peers/vsphere-vcsim.ts",
  "src/lab/": "test/peers/strangers/govmomi.ts",
  "src/local/": "test/integration/local-folder.ts",
  "src/mount/daemon.ts": "test/integration/main-job.ts",
  "src/mount/daemon-unmount.ts": "test/integration/other-directories.ts",
  "src/mount/dead-mount.ts": "test/unit/mount/unmount.ts",
  "src/mount/export-pool-source.ts": "test/integration/xen/pool-sources.ts",
  "src/mount/fetch-pool-source.ts": "test/integration/xen/pool-sources.ts",
  "src/mount/mount-vm.ts": "test/unit/cli/commands.ts",
  "src/mount/mounted-session.ts": "test/integration/xen/pool-sources.ts",
  "src/mount/pool-session.ts": "test/integration/xen/pool-sources.ts",
  "src/mount/ready-to-freeze.ts": "test/integration/hooks-and-guards.ts",
  "src/mount/snapshot-hooks.ts": "test/integration/hooks-and-guards.ts",
  "src/cli/mount-several.ts": "test/integration/many-vms.ts",
  "src/mount/many/": "test/integration/many-vms.ts",
  "src/mount/whole-vm.ts": "test/integration/xen/main-job.ts",
  "src/mount/made-directory.ts": "test/integration/config-and-logs.ts",
  "src/mount/disk-transports.ts": "test/integration/vddk/transports.ts",
  "src/proxy-settings.ts": "test/unit/settings.ts",
  "src/nbd/": "test/peers/nbd/servers.ts",
  "src/restore/": "test/integration/xen/restore.ts",
  "src/vddk/": "test/integration/vddk/faults.ts",
  "src/vsphere/": "test/peers/vsphere-vcsim.ts",
  "src/xen/": "test/integration/xen/contract.ts",
};

void t.test("every source file has a test that names it, or one that drives it", (t) => {
  const named = new Set<string>();
  for (const path of TESTS) {
    for (const { fileName } of ts.preProcessFile(read(path)).importedFiles) {
      const target = join(path, "..", fileName).replace(/\.js$/, ".ts");
      if (target.startsWith("src/")) named.add(target);
    }
  }
  const untested = SOURCES.filter((path) => !named.has(path));
  const exceptions = Object.keys(TESTED_THROUGH);
  empty(
    t,
    untested.filter((path) => !exceptions.some((start) => path.startsWith(start))),
    "a test imports it, or the list names one",
  );
  const stale = exceptions.filter((start) => !untested.some((path) => path.startsWith(start)));
  empty(t, stale, "the list holds nothing else");
  const missing = Object.values(TESTED_THROUGH).filter((path) => !existsSync(join(ROOT, path)));
  empty(t, missing, "and the tests it names exist");
  t.end();
});

function skipWithout(path: string): string | false {
  return existsSync(join(ROOT, path)) ? false : `${path} is not written yet`;
}

void t.test(
  "the operator's manual names every setting and exit code",
  { skip: skipWithout("docs/OPERATIONS.md") },
  (t) => {
    const manual = read("docs/OPERATIONS.md");
    empty(
      t,
      SETTING_KEYS.filter((key) => !manual.includes(key)),
      "every setting",
    );
    empty(
      t,
      SETTING_KEYS.map((key) => SETTINGS[key].env).filter((name) => !manual.includes(name)),
      "every environment variable",
    );
    const missing = Object.entries(EXIT_CODES)
      .filter(([, { code }]) => !new RegExp(`\\b${code}\\b`).test(manual))
      .map(([name, { code }]) => `${code} ${name}`);
    empty(t, missing, "every exit code");
    t.end();
  },
);

void t.test("the manual page names every command and option", { skip: skipWithout("man/vmmount.1") }, (t) => {
  // In troff a hyphen that can be copied is written "\-".
  const page = read("man/vmmount.1").replaceAll("\\-", "-");
  const edge = { env: {}, out: () => undefined, err: () => undefined, isInteractive: false, canPrompt: false };
  const { signal } = new AbortController();
  const program = createProgram({ ...edge, program: "", signal });
  const missing: string[] = [];
  const visit = (command: ReturnType<typeof createProgram>, words: readonly string[]): void => {
    for (const option of command.options) {
      if (option.long !== undefined && !page.includes(option.long)) missing.push([...words, option.long].join(" "));
    }
    for (const one of command.commands) {
      const name = [...words, one.name()].join(" ");
      if (!page.includes(name)) missing.push(name);
      visit(one, [...words, one.name()]);
    }
  };
  visit(program, []);
  empty(t, missing, "every command and option");
  t.end();
});
