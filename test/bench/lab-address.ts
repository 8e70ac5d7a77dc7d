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

/** Starts the stand-in vCenter as a process of its own; ended in order, since a killed one forgets what changed. */
export async function startLabProcess(bench: Workbench, owner: CleanupStack): Promise<LabProcess> {
  const lab = await LabProcess.start(ownerOf(owner), bench.site.labDirectory);
  owner.add("end the lab", async () => {
    lab.signal("SIGTERM");
    await lab.ended();
  });
  return lab;
}

/** A lab, and a login to it for everybody but vmmount. */
export async function startBenchLab(bench: Workbench, owner: CleanupStack): Promise<RunningLab> {
  const lab = await startLabProcess(bench, owner);
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
