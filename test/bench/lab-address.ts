import { readFile } from "node:fs/promises";
import type { CleanupStack } from "../../src/cleanup.js";
import { LabProcess } from "../fixtures/host/lab-process.js";
import { LabClient } from "../fixtures/lab-client.js";
import { ownerOf, type Workbench } from "./workbench.js";

/** What reads the lab's datastore beside vmmount must know. */
export interface LabAddress {
  readonly denseUrl: string;
  readonly certificatePath: string;
  /** `name=value` of a session. */
  readonly cookie: string;
  /** The same as a Netscape cookie file. */
  readonly cookieFile: string;
}

export interface RunningLab {
  readonly lab: LabProcess;
  readonly client: LabClient;
  readonly address: LabAddress;
}

/** Starts the stand-in vCenter as a process of its own, and logs in to it once for everybody but vmmount. */
export async function startBenchLab(bench: Workbench, owner: CleanupStack): Promise<RunningLab> {
  const lab = await LabProcess.start(ownerOf(owner), bench.site.labDirectory);
  const { url, user, passwordFile, caFile } = lab.facts;
  const password = (await readFile(passwordFile, "utf8")).trim();
  const client = await LabClient.loggedIn({ url, user, password, certificatePath: caFile });
  const { cookie } = client;
  if (cookie === undefined) throw new Error("The lab gave no session cookie");
  const equals = cookie.indexOf("=");
  const fields = [new URL(url).hostname, "FALSE", "/", "TRUE", "0", cookie.slice(0, equals), cookie.slice(equals + 1)];
  const { dense } = bench.site;
  return {
    lab,
    client,
    address: {
      denseUrl: `${url}/folder/${dense}/${dense}-flat.vmdk?dcPath=dc1&dsName=ds1`,
      certificatePath: caFile,
      cookie,
      cookieFile: `# Netscape HTTP Cookie File\n${fields.join("\t")}\n`,
    },
  };
}
