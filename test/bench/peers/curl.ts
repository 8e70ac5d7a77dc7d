import type { Sample } from "../contender.js";
import type { LabAddress } from "../lab-address.js";
import { MEGA } from "../measure.js";
import { runProgram } from "../programs.js";
import type { Workbench } from "../workbench.js";

export const CURL = "curl, one stream";

/** Exit code of curl when its time is over; what came until then counts. */
const TIMED_OUT = 28;

/** One plain download of the whole file. */
export async function readWithCurl(bench: Workbench, lab: LabAddress): Promise<Sample> {
  const { options, signal } = bench;
  const config = [
    `url = "${lab.denseUrl}"`,
    // A cookie's value may stand in quotes of its own.
    `header = "Cookie: ${lab.cookie.replaceAll('"', '\\"')}"`,
    `cacert = "${lab.certificatePath}"`,
    `output = "/dev/null"`,
    `max-time = ${options.readLimitMs / 1000}`,
    `write-out = "%{http_code} %{size_download} %{time_total}"`,
    "silent",
  ];
  const { code, stdout, stderr } = await runProgram("curl", ["--config", "-"], { signal, input: config.join("\n") });
  const [status, bytes, seconds] = stdout.split(" ").map(Number);
  if ((code !== 0 && code !== TIMED_OUT) || status !== 200 || bytes === undefined || seconds === undefined) {
    throw new Error(`curl ended with ${code ?? "a signal"}, HTTP ${status ?? "?"}: ${stderr}`);
  }
  return { value: bytes / MEGA / seconds };
}
