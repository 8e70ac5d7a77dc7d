import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CleanupStack } from "../../src/cleanup.js";
import type { LabOwner } from "../fixtures/host/lab-host.js";
import { type CacheDrop, chooseCacheDrop } from "./page-cache.js";
import type { Options } from "./options.js";
import { makeSite, type Site } from "./site.js";

/** What every case works with. */
export interface Workbench {
  readonly options: Options;
  readonly site: Site;
  readonly cacheDrop: CacheDrop;
  readonly signal: AbortSignal;
  /** Everything of the run that must be undone; cases nest their own stacks in it. */
  readonly cleanup: CleanupStack;
  /** A new empty folder. */
  folder(name: string): Promise<string>;
  say(text: string): void;
}

/** Makes the temporary folder and the data in it; both go with `cleanup`. */
export async function setUp(options: Options, cleanup: CleanupStack, signal: AbortSignal): Promise<Workbench> {
  const directory = await mkdtemp(join(tmpdir(), "vmm-bench-"));
  cleanup.add("remove the data", () => rm(directory, { recursive: true, force: true }));
  const say = (text: string): void => void process.stderr.write(`bench: ${text}\n`);
  say(`making the data in ${directory}`);
  const site = await makeSite(directory, options);
  let folders = 0;
  const folder = async (name: string): Promise<string> => {
    const path = join(directory, `${name}-${++folders}`);
    await mkdir(path);
    return path;
  };
  return { options, site, cacheDrop: await chooseCacheDrop(), signal, cleanup, folder, say };
}

/** A stack in the words of the test fixtures. */
export function ownerOf(stack: CleanupStack): LabOwner {
  return {
    teardown: (run) => {
      stack.add("clean up", run);
    },
  };
}
