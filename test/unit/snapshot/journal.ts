import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import promises from "node:fs/promises";
import { syncBuiltinESMExports } from "node:module";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import t from "tap";
import { BusyError, IntegrityError, NotFoundError } from "../../../src/errors.js";
import { FileJournal, readJournal } from "../../../src/snapshot/journal.js";
import { type JournalContract, journalContract } from "../../fixtures/contract/journal.js";
import { MemoryJournals } from "../../fixtures/memory-journal.js";
import { scratch } from "../../fixtures/scratch.js";
import { sessionFacts } from "../../fixtures/snapshot-facts.js";

const run = promisify(execFile);
const ID = "k3v9q2m7xa";

void t.test("FileJournal keeps the contract of a journal", async (t) => {
  const directory = scratch(t);
  const path = (session: string): string => join(directory, `${session}.journal`);
  const contract: JournalContract = {
    create: (session) => FileJournal.create(path(session), session),
    open: (session) => FileJournal.open(path(session), session),
    content: (session) => Promise.resolve(existsSync(path(session)) ? readFileSync(path(session)) : undefined),
    replace: (session, content) => {
      writeFileSync(path(session), content);
      return Promise.resolve();
    },
  };
  await journalContract(t, contract);
});

void t.test("the in-memory journal of the tests keeps it too", async (t) => {
  const journals = new MemoryJournals();
  await journalContract(t, {
    create: (session) => journals.create(session),
    open: (session) => journals.open(session),
    content: (session) => Promise.resolve(journals.files.get(session)),
    replace: (session, content) => {
      journals.files.set(session, Buffer.from(content));
      return Promise.resolve();
    },
  });
});

void t.test("the file is for its owner only", async (t) => {
  const directory = join(scratch(t), "sessions");
  await using journal = await FileJournal.create(join(directory, "a.journal"), ID);
  await journal.append({ event: "removed" });
  t.equal(statSync(directory).mode & 0o777, 0o700);
  t.equal(statSync(join(directory, "a.journal")).mode & 0o777, 0o600);
});

void t.test("a journal that another process holds cannot be opened until that process is gone", async (t) => {
  const path = join(scratch(t), "a.journal");
  const program = fileURLToPath(new URL("../../fixtures/programs/hold-journal.ts", import.meta.url));
  const child = spawn(process.execPath, [...process.execArgv, program, path, ID], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.teardown(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  await t.rejects(FileJournal.open(path, ID), BusyError);
  t.match(await readJournal(path), [{ event: "planned" }], "reading needs no lock");
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
  await using journal = await FileJournal.open(path, ID);
  await journal.append({ event: "removed" });
  t.match(await readJournal(path), [{ event: "planned" }, { event: "removed" }]);
});

void t.test(
  "whoever waits for the lock of a journal that is erased meanwhile hears that the session ended",
  async (t) => {
    const path = join(scratch(t), "a.journal");
    const first = await FileJournal.create(path, ID);
    const second = FileJournal.open(path, ID).catch((error: unknown) => error);
    await first.erase();
    await first[Symbol.asyncDispose]();
    t.ok((await second) instanceof NotFoundError);
    t.notOk(existsSync(path));
  },
);

const noMount = process.getuid?.() === 0 ? false : "needs root to mount a small file system";

void t.test("a write that failed half-way does not damage the records around it", { skip: noMount }, async (t) => {
  const disk = join(scratch(t), "disk");
  mkdirSync(disk);
  // Two pages: one for the ballast, one that a record does not fit into.
  await run("mount", ["-t", "tmpfs", "-o", "size=16k,mode=0700", "vmmount-test", disk]);
  t.teardown(() => run("umount", [disk]));
  const path = join(disk, "a.journal");
  await using journal = await FileJournal.create(path, ID);
  await journal.append({ event: "planned", facts: sessionFacts() });
  writeFileSync(join(disk, "ballast"), Buffer.alloc(8192));
  const long = { event: "leftover", reason: "x".repeat(10_000) } as const;
  await t.rejects(journal.append(long), { exit: "space", cause: { code: "ENOSPC" } });
  t.ok(statSync(path).size > 4096, "half of the record is there");
  await journal.append({ event: "creating", quiesce: false });
  t.match(await readJournal(path), [{ event: "planned" }, { event: "creating", seq: 1 }]);
  await t.rejects(journal.append(long), { exit: "space", cause: { code: "ENOSPC" } });
  rmSync(join(disk, "ballast"));
  await journal.append(long);
  t.match(await readJournal(path), [{ event: "planned" }, { event: "creating" }, { event: "leftover", seq: 2 }]);
});

void t.test("a file that is no journal of ours is refused", async (t) => {
  const path = join(scratch(t), "a.journal");
  writeFileSync(path, Buffer.alloc(1024 * 1024 + 1));
  await t.rejects(readJournal(path), { message: /more than 1048576 bytes/ });
  await t.rejects(readJournal(path), IntegrityError);
  await t.rejects(readJournal(join(path, "none")), { code: "ENOTDIR" });
});

void t.test("a journal that cannot be made leaves nothing open", async (t) => {
  const directory = scratch(t);
  const path = join(directory, "a.journal");
  writeFileSync(path, "");
  await t.rejects(FileJournal.create(path, ID), { exit: "config", cause: { code: "EEXIST" } });
  chmodSync(path, 0o600);
  await using journal = await FileJournal.open(path, ID);
  await journal.append({ event: "removed" });
  t.match(await readJournal(path), [{ event: "removed", seq: 0 }]);
});

void t.test("a journal that a cleaner takes for a dead one, before it has its lock, is made again", async (t) => {
  const path = join(scratch(t), "a.journal");
  const { open } = promises;
  let made = 0;
  promises.open = async (...args) => {
    const file = await open(...args);
    if (args[1] !== "ax+" || ++made > 1) return file;
    // As vmmount gc or umount do at this very moment.
    await using dead = await FileJournal.open(path, ID);
    await dead.erase();
    return file;
  };
  syncBuiltinESMExports();
  t.teardown(() => {
    promises.open = open;
    syncBuiltinESMExports();
  });
  await using journal = await FileJournal.create(path, ID);
  await journal.append({ event: "removed" });
  t.equal(made, 2);
  t.match(await readJournal(path), [{ event: "removed" }]);
});
